//! Retention: how much of its log a room keeps, and what is told when the oldest events go.

use hark_protocol::{Retention, RoomId, Seq, UnixMillis};

/// An identity is kept at least this long after its event was stored: 30 days.
pub const IDENTITY_MS_MIN: u64 = 30 * 24 * 60 * 60 * 1_000;

/// The stricter of two retentions in each of their bounds.
pub fn stricter(one: Retention, other: Retention) -> Retention {
    Retention {
        max_age_s: least(one.max_age_s.into(), other.max_age_s.into()).try_into().unwrap_or(u32::MAX),
        max_events: least(one.max_events, other.max_events),
        max_bytes: least(one.max_bytes, other.max_bytes),
    }
}

/// The lesser of two bounds, where 0 is none.
fn least(one: u64, other: u64) -> u64 {
    if one == 0 || other == 0 { one.max(other) } else { one.min(other) }
}

/// Whether an event that was stored then is too old now.
pub fn is_too_old(stored: UnixMillis, max_age_s: u32, now: UnixMillis) -> bool {
    max_age_s > 0 && stored.0.saturating_add(u64::from(max_age_s) * 1_000) <= now.0
}

/// What came of looking for events that are more than their rooms keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Rooms whose first event is another one now, in the order of their ids.
    pub moved: Vec<Moved>,
    /// Behind which room to go on; `None` when every room has been looked at.
    pub next: Option<RoomId>,
}

/// A room whose oldest events can not be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The room.
    pub room: RoomId,
    /// The oldest seq that can be read from now on; head + 1 when there is none.
    pub first: Seq,
    /// How many events have gone.
    pub events: u64,
}

/// What came of removing events that can not be read any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Events that were removed.
    pub events: u64,
    /// Whether more wait.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_bound_is_the_lesser_one_that_is_set() {
        let retention = |max_age_s, max_events, max_bytes| Retention { max_age_s, max_events, max_bytes };
        let cases = [
            (retention(0, 0, 0), retention(0, 0, 0), retention(0, 0, 0)),
            (retention(5, 0, 7), retention(0, 6, 0), retention(5, 6, 7)),
            (retention(5, 9, 7), retention(8, 6, 7), retention(5, 6, 7)),
            (retention(u32::MAX, u64::MAX, 1), retention(0, 0, u64::MAX), retention(u32::MAX, u64::MAX, 1)),
        ];
        for (one, other, expected) in cases {
            assert_eq!((stricter(one, other), stricter(other, one)), (expected, expected));
        }
    }

    #[test]
    fn an_event_is_too_old_once_its_age_is_reached() {
        let cases = [
            (1_000, 2, 2_999, false),
            (1_000, 2, 3_000, true),
            (0, 0, u64::MAX, false),
            (u64::MAX, 1, 5, false),
        ];
        for (stored, age, now, expected) in cases {
            assert_eq!(
                is_too_old(UnixMillis(stored), age, UnixMillis(now)),
                expected,
                "{stored} {age} {now}"
            );
        }
    }
}
