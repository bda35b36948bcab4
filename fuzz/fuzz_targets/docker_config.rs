#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_registry::fuzzing::docker_config(data));
