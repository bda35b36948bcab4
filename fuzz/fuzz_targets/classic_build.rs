#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_docker::fuzzing::classic_build(data));
