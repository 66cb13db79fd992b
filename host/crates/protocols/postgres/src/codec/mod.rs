//! Bytes to messages and back: pure, without I/O, every length checked before it is used.
//! Source: PostgreSQL manual, chapter "Frontend/Backend Protocol".

pub mod copy;
pub mod error;
pub mod frame;
pub mod mask;
pub mod message;
pub mod row;
pub mod startup;
pub mod text;
pub mod value;
