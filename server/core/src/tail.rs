//! The newest events of a room, kept in memory so that live delivery reads no disk.

use std::collections::VecDeque;

use hark_protocol::{AccountId, EncodedFrame, EndReason, Seq};

/// Events kept at most, however small they are.
const TAIL_EVENTS_MAX: usize = 4_096;

/// One event in the tail.
#[derive(Clone, Debug)]
pub struct TailEvent {
    /// Its sealed bytes.
    pub frame: EncodedFrame,
    /// Whom it removes from the room.
    pub removes: Option<Removal>,
}

/// An account that an event removes from the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Who.
    pub account: AccountId,
    /// Whether by its own will.
    pub reason: EndReason,
}

/// A ring of the newest events, dense in seq.
///
/// Invariant: the last event is the room's head, unless the tail is empty.
#[derive(Debug, Default)]
pub struct Tail {
    events: VecDeque<TailEvent>,
    first: Seq,
    bytes: usize,
}

impl Tail {
    /// Adds the event `seq` and lets go of the oldest until at most `bytes_max` are kept, but never of the
    /// event just added. An event that does not follow the last one starts the tail anew.
    pub fn push(&mut self, seq: Seq, event: TailEvent, bytes_max: usize) {
        if self.events.is_empty() || seq != self.end() {
            self.clear();
            self.first = seq;
        }
        self.bytes += event.frame.as_slice().len();
        self.events.push_back(event);
        while self.events.len() > 1 && (self.bytes > bytes_max || self.events.len() > TAIL_EVENTS_MAX) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.frame.as_slice().len();
            self.first = self.first.next();
        }
    }

    /// Lets go of the oldest events until at most `bytes_max` are kept.
    pub fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            self.drop_oldest();
        }
    }

    /// Lets go of the events before `seq`.
    pub fn drop_before(&mut self, seq: Seq) {
        while self.first < seq && !self.events.is_empty() {
            self.drop_oldest();
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        self.bytes = 0;
    }

    /// Bytes of the events kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The seq behind the last event kept.
    fn end(&self) -> Seq {
        Seq(self.first.0 + self.events.len() as u64)
    }

    /// Why the first event behind `seq` that removes the account does so, if the tail has it.
    pub fn removal(&self, account: AccountId, seq: Seq) -> Option<EndReason> {
        let mut events = self.from(seq.next().max(self.first))?;
        events.find_map(|(_, event)| event.removes.filter(|it| it.account == account)).map(|it| it.reason)
    }

    /// The events from `seq` on; `None` when the tail does not reach back so far.
    pub fn from(&self, seq: Seq) -> Option<impl Iterator<Item = (Seq, &TailEvent)>> {
        let skip = usize::try_from(seq.0.checked_sub(self.first.0)?).ok()?;
        if self.events.is_empty() || skip > self.events.len() {
            return None;
        }
        Some((seq.0..).map(Seq).zip(self.events.range(skip..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::{Correlation, Ping};

    fn event(size: usize) -> TailEvent {
        let data = "x".repeat(size).parse().unwrap();
        TailEvent { frame: EncodedFrame::new(Correlation(1), &Ping { data }), removes: None }
    }

    fn seqs(tail: &Tail, from: u64) -> Option<Vec<u64>> {
        tail.from(Seq(from)).map(|events| events.map(|(seq, _)| seq.0).collect())
    }

    #[test]
    fn a_tail_is_read_from_any_seq_it_holds() {
        let mut tail = Tail::default();
        assert_eq!(seqs(&tail, 1), None);
        for seq in 5..8 {
            tail.push(Seq(seq), event(0), 1_000);
        }
        assert_eq!(seqs(&tail, 4), None);
        assert_eq!(seqs(&tail, 5), Some(vec![5, 6, 7]));
        assert_eq!(seqs(&tail, 8), Some(vec![]));
        assert_eq!(seqs(&tail, 9), None);
    }

    #[test]
    fn the_oldest_make_way_and_the_newest_stays() {
        let mut tail = Tail::default();
        for seq in 1..=10 {
            tail.push(Seq(seq), event(26), 100); // 20 + 4 + 26 = 50 bytes each
        }
        assert_eq!(seqs(&tail, 9), Some(vec![9, 10]));
        assert_eq!(seqs(&tail, 8), None);
        tail.push(Seq(11), event(64), 10);
        assert_eq!(seqs(&tail, 11), Some(vec![11]));
    }

    #[test]
    fn what_is_before_a_seq_can_be_let_go_of() {
        let mut tail = Tail::default();
        for seq in 5..8 {
            tail.push(Seq(seq), event(0), 1_000);
        }
        tail.drop_before(Seq(4));
        assert_eq!(seqs(&tail, 5), Some(vec![5, 6, 7]));
        tail.drop_before(Seq(7));
        assert_eq!((seqs(&tail, 6), seqs(&tail, 7), tail.bytes()), (None, Some(vec![7]), 24));
        tail.drop_before(Seq(9));
        assert_eq!((seqs(&tail, 7), tail.bytes()), (None, 0));
        tail.push(Seq(8), event(0), 1_000);
        assert_eq!(seqs(&tail, 8), Some(vec![8]));
    }

    #[test]
    fn a_hole_starts_the_tail_anew() {
        let mut tail = Tail::default();
        tail.push(Seq(1), event(0), 1_000);
        tail.push(Seq(3), event(0), 1_000);
        assert_eq!(seqs(&tail, 1), None);
        assert_eq!(seqs(&tail, 3), Some(vec![3]));
        assert_eq!(tail.bytes(), 24);
    }
}
