//! Fuzzes [`sluicegate_properties::frontend`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::frontend(data));
