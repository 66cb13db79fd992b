//! sluicegate-recorder
