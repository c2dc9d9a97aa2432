//! One room's lane: what is to be changed there, in the order of calls, through refusals and lost connections.
//!
//! Several publishes of a lane are in flight at once. When the server refuses one for now, it refuses those behind
//! it, too, until the refused one is sent again or given up. So the lane waits until all of them are answered and
//! the time that the server named has passed, and sends them again from the refused one on.

use std::collections::BTreeSet;
use std::time::Duration;

use hark_protocol::{ClientId, RoomId};

use crate::session::Moment;

/// Which lane: a room's, or that of what names no room by id.
pub(super) type LaneKey = Option<RoomId>;

/// See the [module](self). It holds the places of requests; [`Requests`](super::requests::Requests) has the rest.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Places of what is to be sent.
    pub(super) waiting: BTreeSet<u64>,
    /// Places of what waits for its answer.
    pub(super) in_flight: BTreeSet<u64>,
    /// Under which place the lane is listed among those that may send.
    pub(super) listed: Option<u64>,
    /// Nothing is sent before this.
    held_until: Option<Moment>,
    /// Refusals in a row that may pass.
    refusals: u32,
    /// Whom the server lets go first on this connection.
    awaited: Option<Awaited>,
    /// The newest publish that was stored, while older ones may be unanswered.
    stored: Option<u64>,
}

/// The publish that the server waits for before it takes another one of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// This one.
    Publish(ClientId),
    /// One that the server has not named.
    Somebody,
}

/// What a publish says about those that were refused before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predecessor {
    /// Nothing is to be said.
    None,
    /// What was refused before it will not be sent again.
    Abandoned,
}

impl Lane {
    /// The place of what is to be sent next, whatever the connection's own bounds say. What is not a publish waits
    /// until everything before it is answered: nothing refuses it for what was refused before it.
    pub(super) fn next(&self, is_publish: impl Fn(u64) -> bool) -> Option<u64> {
        let first = self.waiting.first().copied()?;
        let must_be_alone = self.awaited.is_some() || !is_publish(first);
        let has_place = self.in_flight.len() < if must_be_alone { 1 } else { WINDOW };
        (self.held_until.is_none() && has_place).then_some(first)
    }

    /// The pause is over.
    pub(super) fn release(&mut self) {
        self.held_until = None;
    }

    /// A publish is being sent.
    pub(super) fn on_sent(&mut self, client_id: ClientId) -> Predecessor {
        match self.awaited.take() {
            None => Predecessor::None,
            Some(Awaited::Publish(awaited)) if awaited == client_id => Predecessor::None,
            Some(_) => Predecessor::Abandoned,
        }
    }

    /// The publish at `place` is in the log; whether it passed others is for [`Lane::is_passed`] to say.
    pub(super) fn on_stored(&mut self, place: u64) {
        self.refusals = 0;
        self.stored = self.stored.max(Some(place));
    }

    /// Whether a later publish than that at `place` is in the log: then its place in the order is gone.
    pub(super) fn is_passed(&self, place: u64) -> bool {
        self.stored.is_some_and(|stored| stored > place)
    }

    /// The server refused a publish for now, and waits for it.
    pub(super) fn on_refused(&mut self, client_id: ClientId) {
        self.awaited.get_or_insert(Awaited::Publish(client_id));
        self.refusals = self.refusals.saturating_add(1);
    }

    /// The server refused a publish because of another one.
    pub(super) fn on_predecessor_refused(&mut self) {
        self.awaited.get_or_insert(Awaited::Somebody);
    }

    /// Sends nothing for as long as the server said, or for a pause that grows.
    pub(super) fn hold(&mut self, retry_after: Option<Duration>, now: Moment) -> Moment {
        let doublings = self.refusals.saturating_sub(1).min(16);
        let pause = retry_after.unwrap_or(PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_CAP));
        let until = self.held_until.map_or(now + pause, |held| held.max(now + pause));
        self.held_until = Some(until);
        until
    }

    /// The connection is gone, and with it what the server waited for.
    pub(super) fn on_lost(&mut self) {
        (self.awaited, self.held_until, self.stored) = (None, None, None);
    }

    /// Nothing is outstanding: what was stored can pass nobody any more.
    pub(super) fn settle(&mut self) {
        if self.in_flight.is_empty() {
            self.stored = None;
        }
    }

    /// Whether the lane may be forgotten.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty() && self.awaited.is_none()
    }
}

/// Publishes of one room in flight: enough to fill a group commit, and half of what the client has in flight at
/// most, so that one busy room leaves places to the others.
pub(super) const WINDOW: usize = 128;

/// The first pause after "not now" from a server that does not say how long.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest pause of that sort.
const PAUSE_CAP: Duration = Duration::from_secs(30);
