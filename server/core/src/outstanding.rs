//! The requests of one connection that have no final answer yet, and the PINGs that wait behind them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use hark_protocol::{Blob, Correlation, RoomId, Seq, limits::PING_BYTES_MAX};

/// Requests without a final answer, in the order in which they were read.
#[derive(Debug, Default)]
pub struct Outstanding {
    ordinals: u64,
    by_correlation: HashMap<Correlation, Entry>,
    unanswered: BTreeSet<u64>,
}

#[derive(Debug)]
struct Entry {
    ordinal: u64,
    is_cancelled: bool,
}

impl Outstanding {
    /// Notes a request; false if its correlation is in use.
    pub fn insert(&mut self, correlation: Correlation) -> bool {
        if self.by_correlation.contains_key(&correlation) {
            return false;
        }
        self.ordinals += 1;
        self.unanswered.insert(self.ordinals);
        self.by_correlation.insert(correlation, Entry { ordinal: self.ordinals, is_cancelled: false });
        true
    }

    /// Notes the final answer. `None` if there was no such request, or it was answered already; otherwise
    /// whether it was cancelled.
    pub fn answer(&mut self, correlation: Correlation) -> Option<bool> {
        let entry = self.by_correlation.remove(&correlation)?;
        self.unanswered.remove(&entry.ordinal);
        Some(entry.is_cancelled)
    }

    /// Notes that nobody wants the answer any more; true if the request is there.
    pub fn cancel(&mut self, correlation: Correlation) -> bool {
        self.by_correlation.get_mut(&correlation).map(|entry| entry.is_cancelled = true).is_some()
    }

    /// Whether a request with that correlation has no answer.
    pub fn contains(&self, correlation: Correlation) -> bool {
        self.by_correlation.contains_key(&correlation)
    }

    /// Whether nobody wants the answer any more.
    pub fn is_cancelled(&self, correlation: Correlation) -> bool {
        self.by_correlation.get(&correlation).is_some_and(|entry| entry.is_cancelled)
    }

    /// How many have no answer.
    pub fn len(&self) -> usize {
        self.by_correlation.len()
    }

    /// Whether every request has been answered.
    pub fn is_empty(&self) -> bool {
        self.by_correlation.is_empty()
    }

    /// The request read last, by number.
    pub fn last(&self) -> u64 {
        self.ordinals
    }

    /// Whether every request up to that number has been answered.
    pub fn is_answered_up_to(&self, ordinal: u64) -> bool {
        self.unanswered.first().is_none_or(|oldest| *oldest > ordinal)
    }
}

/// A PING that waits: first for the answers to the requests read before it, then for the events that the
/// rooms held at that moment.
#[derive(Debug)]
pub struct Barrier {
    /// The PING's correlation.
    pub correlation: Correlation,
    /// The PING's bytes.
    pub data: Blob<PING_BYTES_MAX>,
    after: u64,
    targets: Option<BTreeMap<RoomId, Seq>>,
}

/// What a barrier asks about the connection's subscriptions.
pub trait Progress {
    /// How far each live subscription that is behind has to come.
    fn targets(&self) -> Vec<(RoomId, Seq)>;
    /// Whether the room has come so far, or as far as credit allows.
    fn has_reached(&self, room: RoomId, seq: Seq) -> bool;
}

/// The PINGs that wait, first come first served.
#[derive(Debug, Default)]
pub struct Barriers {
    waiting: VecDeque<Barrier>,
}

impl Barriers {
    /// Adds a PING that was read behind request number `after`.
    pub fn push(&mut self, correlation: Correlation, data: Blob<PING_BYTES_MAX>, after: u64) {
        self.waiting.push_back(Barrier { correlation, data, after, targets: None });
    }

    /// Whether a PING with that correlation waits.
    pub fn contains(&self, correlation: Correlation) -> bool {
        self.waiting.iter().any(|barrier| barrier.correlation == correlation)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the first PING whose PONG is due.
    pub fn take_due(&mut self, outstanding: &Outstanding, progress: &impl Progress) -> Option<Barrier> {
        let barrier = self.waiting.front_mut()?;
        if !outstanding.is_answered_up_to(barrier.after) {
            return None;
        }
        let targets = barrier.targets.get_or_insert_with(|| progress.targets().into_iter().collect());
        targets.retain(|room, seq| !progress.has_reached(*room, *seq));
        if targets.is_empty() { self.waiting.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(Vec<(u64, u64, u64)>); // room, sent, head

    impl Progress for At {
        fn targets(&self) -> Vec<(RoomId, Seq)> {
            self.0
                .iter()
                .filter(|(_, sent, head)| sent < head)
                .map(|(room, _, head)| (RoomId(*room), Seq(*head)))
                .collect()
        }
        fn has_reached(&self, room: RoomId, seq: Seq) -> bool {
            self.0.iter().all(|(of, sent, _)| *of != room.0 || *sent >= seq.0)
        }
    }

    #[test]
    fn a_request_is_answered_once() {
        let mut outstanding = Outstanding::default();
        assert!(outstanding.insert(Correlation(1)));
        assert!(!outstanding.insert(Correlation(1)));
        assert!(outstanding.cancel(Correlation(1)));
        assert!(!outstanding.cancel(Correlation(2)));
        assert_eq!(outstanding.answer(Correlation(1)), Some(true));
        assert_eq!(outstanding.answer(Correlation(1)), None);
        assert!(outstanding.is_empty());
    }

    #[test]
    fn a_pong_waits_for_earlier_answers_and_then_for_the_heads_of_that_moment() {
        let mut outstanding = Outstanding::default();
        let mut barriers = Barriers::default();
        outstanding.insert(Correlation(1));
        barriers.push(Correlation(2), Blob::default(), outstanding.last());
        outstanding.insert(Correlation(3));

        assert!(barriers.take_due(&outstanding, &At(vec![])).is_none(), "request 1 is unanswered");
        outstanding.answer(Correlation(1));
        assert!(barriers.take_due(&outstanding, &At(vec![(7, 4, 5)])).is_none(), "room 7 is behind");
        assert!(barriers.take_due(&outstanding, &At(vec![(7, 4, 9)])).is_none());
        let due =
            barriers.take_due(&outstanding, &At(vec![(7, 5, 9)])).expect("5 was the head when it was noted");
        assert_eq!(due.correlation, Correlation(2));
        assert!(barriers.is_empty());
    }
}
