//! sluicegate-admin
