//! Fuzzes [`sluicegate_properties::growth`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::growth(data));
