//! Where chance comes from: the operating system's generator, unless a test or a simulation plugs in its own.

use std::sync::Arc;

use hark_protocol::ClientId;
use tokio::time::Instant;

use crate::clock::Clock;

/// A source of random numbers. It makes client ids and the jitter of reconnects.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("invariant: the operating system gives random bytes");
    }
}

/// Makes client ids that grow with time, so that the server's index stays small.
#[derive(Clone)]
pub(crate) struct Ids {
    entropy: Arc<dyn Entropy>,
    started: Instant,
    started_unix_ms: u64,
}

impl Ids {
    pub(crate) fn new(entropy: Arc<dyn Entropy>, clock: &dyn Clock) -> Ids {
        Ids { entropy, started: Instant::now(), started_unix_ms: clock.now().0 }
    }

    /// A UUIDv7: the wall clock is read once, so that a clock that is set back can not shrink the ids.
    pub(crate) fn client_id(&self) -> ClientId {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(0);
        let time_ms = self.started_unix_ms.saturating_add(elapsed_ms);
        let bytes = uuid::Builder::from_unix_timestamp_millis(time_ms, &random).into_uuid().into_bytes();
        ClientId::new(bytes).expect("invariant: a UUID's version bits are not zero")
    }

    pub(crate) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn client_ids_are_distinct_and_grow_with_time() {
        let ids = Ids::new(Arc::new(OsEntropy), &SystemClock);
        let first = ids.client_id();
        assert_ne!(first, ids.client_id());
        tokio::time::advance(std::time::Duration::from_millis(2)).await;
        assert!(ids.client_id() > first);
    }
}
