#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_build_core::fuzzing::image_reference(data));
