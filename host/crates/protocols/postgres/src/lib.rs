//! sluicegate-postgres
