#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_buildkit::fuzzing::buildkit_progress(data));
