//! Fuzzes [`sluicegate_properties::frames`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegate_properties::frames(data));
