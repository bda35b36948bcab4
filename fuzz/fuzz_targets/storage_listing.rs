#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_registry::fuzzing::storage_listing(data));
