//! The order of one connection's publishes across refusals: what was sent behind a publish that was refused, and
//! that may come again, must not pass it.
//!
//! ```text
//!            refused, retryable
//!   open ──────────────────────────▶ waiting for that client id ──┐ any other publish into the room:
//!     ▲                                         │    ▲            │ PREDECESSOR_REFUSED
//!     └── that client id again, or `abandon` ───┘    └────────────┘
//! ```
//!
//! A publish enters once, in the order in which it was read; whether it is refused is known later, and may be
//! known after those behind it have entered.

use std::collections::BTreeMap;

use hark_protocol::{ClientId, RoomId};

use crate::Refusal;

/// Rooms of one connection in which a publish is waited for: as many as an account may be a member of by default.
/// Whoever neither repeats nor gives up what was refused in so many rooms is not waited for any longer.
pub const WAITING_ROOMS_MAX: usize = 10_000;

/// Where a publish stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It may be stored.
    Free,
    /// Another one has to come first.
    Behind,
}

/// What is waited for in the rooms of one connection.
#[derive(Debug, Default)]
pub struct Pipeline {
    waiting: BTreeMap<RoomId, ClientId>,
}

impl Pipeline {
    /// Takes a publish in the order in which it was read. It is what is waited for, or gives that up, or is free if
    /// nothing is waited for.
    pub fn enter(&mut self, room: RoomId, client_id: ClientId, abandons: bool) -> Place {
        if abandons || self.waiting.get(&room) == Some(&client_id) {
            self.waiting.remove(&room);
        }
        self.place(room, client_id)
    }

    /// Where a publish stands that has entered as free: one before it may have been refused since.
    pub fn place(&self, room: RoomId, client_id: ClientId) -> Place {
        match self.waiting.get(&room) {
            Some(other) if *other != client_id => Place::Behind,
            _ => Place::Free,
        }
    }

    /// Notes that a publish which entered as free is refused, and says what its author is told: if another one is
    /// waited for by now, that it has to come first.
    pub fn refused(&mut self, room: RoomId, client_id: ClientId, refusal: Refusal) -> Refusal {
        if refusal == Refusal::PredecessorRefused || !refusal.code().is_retryable() {
            return refusal;
        }
        match self.waiting.entry(room).or_insert(client_id) {
            first if *first == client_id => refusal,
            _ => Refusal::PredecessorRefused,
        }
    }

    /// Whether more is waited for than the server cares to remember. The connection ends, and its order with it.
    pub fn is_overdue(&self) -> bool {
        self.waiting.len() > WAITING_ROOMS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hark_protocol::LimitId;

    const TEA: RoomId = RoomId(1);
    const COFFEE: RoomId = RoomId(2);

    fn id(number: u8) -> ClientId {
        ClientId::new([number; 16]).unwrap()
    }

    fn rate() -> Refusal {
        Refusal::Rate { limit: LimitId::PUBLISH_RATE, value: 1, retry_after_ms: 1 }
    }

    #[test]
    fn what_is_behind_a_refused_publish_waits_until_it_comes_again() {
        let mut pipeline = Pipeline::default();
        assert_eq!(pipeline.enter(TEA, id(1), false), Place::Free);
        assert_eq!(pipeline.refused(TEA, id(1), rate()), rate());
        assert_eq!(pipeline.enter(TEA, id(2), false), Place::Behind);
        assert_eq!(
            pipeline.enter(COFFEE, id(2), false),
            Place::Free,
            "other rooms have an order of their own"
        );
        assert_eq!(pipeline.enter(TEA, id(1), false), Place::Free);
        assert_eq!(pipeline.enter(TEA, id(2), false), Place::Free);
    }

    #[test]
    fn what_is_given_up_is_not_waited_for() {
        let mut pipeline = Pipeline::default();
        pipeline.refused(TEA, id(1), Refusal::Unavailable);
        assert_eq!(pipeline.enter(TEA, id(2), true), Place::Free);
        assert_eq!(pipeline.enter(TEA, id(3), false), Place::Free);
        assert_eq!(pipeline.enter(TEA, id(4), true), Place::Free, "there need be nothing to give up");
    }

    #[test]
    fn a_refusal_for_good_lets_the_others_pass() {
        let mut pipeline = Pipeline::default();
        for refusal in [Refusal::NotMember, Refusal::Conflict, Refusal::Forbidden("no")] {
            assert_eq!(pipeline.refused(TEA, id(1), refusal.clone()), refusal);
            assert_eq!(pipeline.enter(TEA, id(2), false), Place::Free);
        }
    }

    #[test]
    fn of_several_that_are_refused_together_the_first_is_waited_for() {
        let mut pipeline = Pipeline::default();
        for number in 1..=3 {
            assert_eq!(pipeline.enter(TEA, id(number), false), Place::Free);
        }
        assert_eq!(pipeline.refused(TEA, id(1), Refusal::Unavailable), Refusal::Unavailable);
        assert_eq!(pipeline.place(TEA, id(2)), Place::Behind);
        for number in 2..=3 {
            let told = pipeline.refused(TEA, id(number), Refusal::Unavailable);
            assert_eq!(told, Refusal::PredecessorRefused);
        }
        assert_eq!(pipeline.enter(TEA, id(3), false), Place::Behind);
        assert_eq!(pipeline.enter(TEA, id(1), false), Place::Free);
    }

    #[test]
    fn a_connection_that_leaves_too_much_open_is_overdue() {
        let mut pipeline = Pipeline::default();
        for room in 0..WAITING_ROOMS_MAX as u64 {
            pipeline.refused(RoomId(room), id(1), Refusal::Internal);
        }
        assert!(!pipeline.is_overdue());
        pipeline.refused(RoomId(u64::MAX), id(1), Refusal::Internal);
        assert!(pipeline.is_overdue());
    }
}
