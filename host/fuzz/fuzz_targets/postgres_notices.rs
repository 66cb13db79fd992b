//! Fuzzes [`sluicegate_properties::notices`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::notices(data));
