//! Fuzzes [`sluicegate_properties::masks`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::masks(data));
