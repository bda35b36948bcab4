#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_kaniko::fuzzing::executor_log(data));
