//! Fuzzes [`sluicegate_properties::backend`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::backend(data));
