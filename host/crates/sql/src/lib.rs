//! sluicegate-sql
