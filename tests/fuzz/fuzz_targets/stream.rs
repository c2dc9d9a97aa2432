//! One byte that says how to cut, then a stream: however it is cut, a receiver makes the same of it.
#![no_main]

#[allow(dead_code, reason = "each target uses one of the properties")]
#[path = "../../../protocol/tests/spec/fuzz_properties.rs"]
mod fuzz_properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_properties::stream(data));
