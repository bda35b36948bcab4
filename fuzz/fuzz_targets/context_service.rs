#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_kaniko::fuzzing::context_service(data));
