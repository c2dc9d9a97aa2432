//! The identity of a request: a keyed hash over what it asks for, by which a retry is told from a conflict.

use aws_lc_rs::hmac;
use hark_core::ports::RequestHash;
use hark_protocol::{Correlation, Frame, HEADER_BYTES};

/// Hashes requests with this server's key, so that a stolen database does not say what they asked for.
pub(crate) struct Identities {
    key: hmac::Key,
}

impl Identities {
    pub(crate) fn new(key: &[u8; 32]) -> Identities {
        Identities { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The hash of everything in the request that its author chose. Extensions that this server does not know
    /// are not part of it: a retry may come from a newer program.
    pub(crate) fn hash(&self, request: &Frame) -> RequestHash {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&request.frame_type().0.to_be_bytes());
        match request {
            // The hot one, without a copy of its body.
            Frame::Publish(publish) => {
                context.update(&publish.kind.0.to_be_bytes());
                context.update(&publish.body);
            }
            other => context.update(&other.encode(Correlation::NONE).as_slice()[HEADER_BYTES..]),
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&context.sign().as_ref()[..16]);
        RequestHash(hash)
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identities")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{Blob, ClientId, Kind, Publish, RoomId};

    fn publish(kind: Kind, body: &str) -> Frame {
        let client_id = ClientId::new([1; 16]).unwrap();
        let body: Blob<{ hark_protocol::limits::BODY_BYTES_MAX }> = body.parse().unwrap();
        Publish { room: RoomId(1), client_id, kind, abandon: false, body }.into()
    }

    #[test]
    fn another_body_kind_or_key_is_another_hash() {
        let ours = Identities::new(&[1; 32]);
        let hash = ours.hash(&publish(Kind::MESSAGE, "tea"));
        assert_eq!(hash, ours.hash(&publish(Kind::MESSAGE, "tea")));
        assert_ne!(hash, ours.hash(&publish(Kind::MESSAGE, "tea?")));
        assert_ne!(hash, ours.hash(&publish(Kind(0x4000), "tea")));
        assert_ne!(hash, Identities::new(&[2; 32]).hash(&publish(Kind::MESSAGE, "tea")));
    }
}
