//! Tokens: 256 random bits that stand for a login or for the right to register, kept as a hash only.

use aws_lc_rs::{constant_time, digest};
use hark_core::ports::TokenHash;
use hark_protocol::Secret;
use hark_protocol::limits::TOKEN_BYTES_MAX;

use crate::entropy::{Entropy, random_bytes};

/// What a token is for. The prefix shows a person, and a scanner for leaked secrets, what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Logs one device in.
    Device,
    /// Lets its holder register accounts.
    Registration,
    /// Takes one session up again.
    Session,
}

impl TokenKind {
    /// What the text of such a token begins with.
    pub fn prefix(self) -> &'static str {
        match self {
            TokenKind::Device => "hdt_",
            TokenKind::Registration => "hrt_",
            TokenKind::Session => "hst_",
        }
    }
}

/// A new token of that kind: its prefix and 64 hexadecimal digits.
pub fn new_token(kind: TokenKind, entropy: &dyn Entropy) -> Secret<TOKEN_BYTES_MAX> {
    let text = format!("{}{}", kind.prefix(), hex(&random_bytes::<TOKEN_BYTES>(entropy)));
    Secret::parse(&text).expect("invariant: a prefix and 64 digits fit into a token")
}

/// What is kept of a token. SHA-256 is enough: 256 random bits can not be found by guessing.
pub fn token_hash(token: &str) -> TokenHash {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    TokenHash(hash)
}

/// Whether two hashes are the same, in a time that does not tell how much of them is.
pub fn same_token(one: &TokenHash, other: &TokenHash) -> bool {
    constant_time::verify_slices_are_equal(&one.0, &other.0).is_ok()
}

/// `bytes` as lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from(HEX_DIGITS[usize::from(nibble)]));
        }
        text
    })
}

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";
/// 256 bits: nobody guesses one of a billion tokens.
const TOKEN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::OsEntropy;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(0u8..).for_each(|(byte, n)| *byte = n);
        }
    }

    #[test]
    fn a_token_is_its_prefix_and_all_the_entropy_in_hex() {
        let token = new_token(TokenKind::Device, &Counting);
        assert_eq!(token.expose(), "hdt_000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        assert!(new_token(TokenKind::Registration, &Counting).expose().starts_with("hrt_"));
    }

    #[test]
    fn two_tokens_differ_and_so_do_their_hashes() {
        let (one, other) =
            (new_token(TokenKind::Device, &OsEntropy), new_token(TokenKind::Device, &OsEntropy));
        assert_ne!(one, other);
        assert!(!same_token(&token_hash(one.expose()), &token_hash(other.expose())));
        assert!(same_token(&token_hash(one.expose()), &token_hash(one.expose())));
    }

    #[test]
    fn the_hash_is_sha256_of_the_text() {
        let hash = token_hash("abc");
        assert_eq!(hex(&hash.0), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
