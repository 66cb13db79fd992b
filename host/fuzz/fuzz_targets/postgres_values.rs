//! Fuzzes [`sluicegate_properties::values`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::values(data));
