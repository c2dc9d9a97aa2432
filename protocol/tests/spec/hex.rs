//! Bytes as hexadecimal text and back.

/// Lower-case hexadecimal digits without spaces.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `text` spells; spaces and line ends are passed over.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{c:?} is no hexadecimal digit")))
        .collect();
    assert_eq!(digits.len() % 2, 0, "half a byte at the end of {text}");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
