//! Fuzzes [`sluicegate_properties::facts`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::facts(data));
