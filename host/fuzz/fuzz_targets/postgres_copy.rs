//! Fuzzes [`sluicegate_properties::copy`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::copy(data));
