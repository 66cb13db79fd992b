//! sluicegate-identity
