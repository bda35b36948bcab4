#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_build_core::fuzzing::git_ignore(data));
