//! sluicegate-policy-engine
