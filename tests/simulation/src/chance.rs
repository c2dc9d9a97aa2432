//! Chance that a seed decides: everything that a run draws comes from here.

use parking_lot::Mutex;

/// A generator of numbers: SplitMix64, whose sequence is the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The sequence of a seed for one purpose. Purposes do not disturb each other.
    pub(crate) fn new(seed: u64, purpose: &str) -> Chance {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let mut chance = Chance(purpose.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, step));
        chance.next();
        chance
    }

    /// The next number.
    #[allow(clippy::should_implement_trait, reason = "it is no iterator: it never ends")]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// An index below `count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("invariant: it is below a usize")
    }

    /// Whether something happens that does so `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// One of several.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// Chance for those who ask for random bytes, in the order in which they ask.
#[derive(Debug)]
pub(crate) struct Seeded(Mutex<Chance>);

impl Seeded {
    /// Bytes of a seed, for one purpose.
    pub(crate) fn new(seed: u64, purpose: &str) -> Seeded {
        Seeded(Mutex::new(Chance::new(seed, purpose)))
    }

    fn fill_bytes(&self, bytes: &mut [u8]) {
        let mut chance = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&chance.next().to_be_bytes()[..chunk.len()]);
        }
    }
}

impl hark_sdk::Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.fill_bytes(bytes);
    }
}

impl hark_server::entropy::Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        self.fill_bytes(bytes);
    }
}
