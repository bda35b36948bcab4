#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| garden_cluster::fuzzing::pod_log(data));
