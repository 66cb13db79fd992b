//! Fuzzes [`sluicegate_properties::startup`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::startup(data));
