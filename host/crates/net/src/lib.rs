//! sluicegate-net
