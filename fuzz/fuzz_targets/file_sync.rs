#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_buildkit::fuzzing::file_sync(data));
