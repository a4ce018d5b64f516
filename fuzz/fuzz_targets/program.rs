#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vedette_engine::fuzz::fuzz_program(data));
