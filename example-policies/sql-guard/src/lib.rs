//! sql-guard
