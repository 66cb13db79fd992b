//! sluicegate-policy
