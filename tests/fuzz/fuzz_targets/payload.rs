//! Two bytes of frame type, then a payload: whatever decodes is what its value encodes to.
#![no_main]

#[allow(dead_code, reason = "each target uses one of the properties")]
#[path = "../../../protocol/tests/spec/fuzz_properties.rs"]
mod fuzz_properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_properties::payload(data));
