#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_config::fuzzing::project_file(data));
