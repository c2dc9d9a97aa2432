//! One room's incarnations: which epoch continues which, and what of it is still there in the last one.

use std::collections::BTreeMap;

/// A place in a log: an epoch and a seq, in this order, which is the order in which they come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The log's incarnation.
    pub(crate) epoch: u64,
    /// The place in it.
    pub(crate) seq: u64,
}

/// The incarnations of one room's log, as they were declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage {
    /// The epoch with which the history begins.
    first: u64,
    /// The epoch at the end.
    last: u64,
    /// Of every other epoch, which one it continues and behind which seq.
    continues: BTreeMap<u64, Place>,
}

impl Lineage {
    /// A log that begins with this epoch.
    pub(crate) fn new(first: u64) -> Lineage {
        Lineage { first, last: first, continues: BTreeMap::new() }
    }

    /// `epoch` continues the log behind this place. An epoch is declared once, and after the one it continues.
    pub(crate) fn restore(&mut self, epoch: u64, kept: Place) {
        if epoch != self.first && self.is_declared(kept.epoch) && epoch > kept.epoch {
            self.continues.entry(epoch).or_insert(kept);
            self.last = epoch;
        }
    }

    /// Whether this epoch is known.
    pub(crate) fn is_declared(&self, epoch: u64) -> bool {
        epoch == self.first || self.continues.contains_key(&epoch)
    }

    /// The epoch at the end.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Where what stands at this place was put in the first place: a log that is continued keeps its seqs.
    pub(crate) fn origin(&self, mut place: Place) -> Place {
        while let Some(kept) = self.continues.get(&place.epoch).filter(|kept| place.seq <= kept.seq) {
            place.epoch = kept.epoch;
        }
        place
    }

    /// Whether what was put at this place is part of the log at the end.
    pub(crate) fn survives(&self, place: Place) -> bool {
        self.kept_until(place, self.last)
    }

    /// Whether both places were part of one log at some time.
    pub(crate) fn coexist(&self, one: Place, other: Place) -> bool {
        let (one, other) = (self.origin(one), self.origin(other));
        self.kept_until(one.min(other), one.max(other).epoch)
    }

    fn kept_until(&self, place: Place, mut epoch: u64) -> bool {
        let place = self.origin(place);
        while epoch > place.epoch {
            let Some(kept) = self.continues.get(&epoch) else { return false };
            if place.seq > kept.seq {
                return false;
            }
            epoch = kept.epoch;
        }
        epoch == place.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: u64, seq: u64) -> Place {
        Place { epoch, seq }
    }

    #[test]
    fn a_restored_log_keeps_what_was_before_and_nothing_else() {
        let mut log = Lineage::new(1);
        log.restore(2, at(1, 10));
        log.restore(4, at(1, 5));
        assert!(log.survives(at(1, 5)) && !log.survives(at(1, 6)));
        assert!(!log.survives(at(2, 11)) && log.survives(at(4, 6)));
        assert_eq!(log.origin(at(4, 5)), at(1, 5));
        assert_eq!(log.origin(at(4, 6)), at(4, 6));
        assert!(log.coexist(at(1, 10), at(2, 11)) && !log.coexist(at(1, 11), at(2, 11)));
        assert!(!log.coexist(at(2, 11), at(4, 6)));
        assert!(!log.is_declared(3) && log.is_declared(4));
    }
}
