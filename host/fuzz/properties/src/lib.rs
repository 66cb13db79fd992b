//! What holds for any bytes at all: for each codec, for the facts about SQL and for the masks, one
//! function that takes bytes and panics where its property does not hold. The fuzz targets beside this
//! crate call one function each; the test in tests/corpora.rs calls them with what is kept in corpus/.

mod backend;
#[path = "../../../crates/sql/tests/common/mod.rs"]
mod common;
mod copy;
mod frames;
mod frontend;
mod input;
mod masks;
mod notices;
mod sql;
mod startup;
mod validity;
mod values;

pub use backend::backend;
pub use copy::copy;
pub use frames::frames;
pub use frontend::frontend;
pub use masks::masks;
pub use notices::notices;
pub use sql::{facts, growth};
pub use startup::startup;
pub use values::values;

/// A property of any bytes.
pub type Property = fn(&[u8]);

/// Each fuzz target's name, which is also its corpus's, with its property.
pub const TARGETS: [(&str, Property); 10] = [
    ("postgres_backend", backend),
    ("postgres_copy", copy),
    ("postgres_frames", frames),
    ("postgres_frontend", frontend),
    ("postgres_masks", masks),
    ("postgres_notices", notices),
    ("postgres_startup", startup),
    ("postgres_values", values),
    ("sql_facts", facts),
    ("sql_growth", growth),
];
