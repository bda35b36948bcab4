#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_registry::fuzzing::registry_answers(data));
