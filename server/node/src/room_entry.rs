//! A room in memory together with the connections that follow it.

use std::collections::HashMap;
use std::sync::Arc;

use hark_core::delivery::RoomHandle;
use hark_core::ports::Appended;
use hark_core::room::Room;
use hark_protocol::{AccountId, DeviceId, EncodedFrame, RoomId, Seq};
use parking_lot::Mutex;
use slab::Slab;

use crate::link::{Link, Order};

/// A room that is loaded. Its lock is held for looks and small changes only, never across a wait; whoever
/// holds it may leave something at a link, but not the other way round.
#[derive(Debug)]
pub(crate) struct RoomEntry {
    id: RoomId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room,
    followers: Slab<Follower>,
    /// Which follower holds a device's durable subscription.
    durable: HashMap<DeviceId, usize>,
}

impl State {
    /// Whether the follower's account is still in the room: one that was removed may not have got so far yet.
    fn is_member(&self, follower: &Follower) -> bool {
        self.room.member(follower.account).is_some()
    }
}

/// A connection that follows the room.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) link: Arc<Link>,
    pub(crate) account: AccountId,
    /// Whether it takes SIGNALLED frames.
    pub(crate) takes_signals: bool,
    /// Whether it takes PRESENCE and PROFILE frames.
    pub(crate) takes_presence: bool,
    /// Whose durable subscription it is.
    pub(crate) durable: Option<DeviceId>,
    /// Whether it has been told of news and has not looked yet.
    pub(crate) is_hinted: bool,
}

impl RoomEntry {
    pub(crate) fn new(room: Room) -> RoomEntry {
        let state = State { followers: Slab::new(), durable: HashMap::new(), room };
        RoomEntry { id: state.room.id(), state: Mutex::new(state) }
    }

    /// The room's id.
    pub(crate) fn id(&self) -> RoomId {
        self.id
    }

    /// Looks at the room.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Room) -> R) -> R {
        look(&self.state.lock().room)
    }

    /// Changes the room without telling anybody.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Room) -> R) -> R {
        change(&mut self.state.lock().room)
    }

    /// Takes note of events that are on the disk, and tells the followers that there is news. Returns by how
    /// many bytes the tail has grown or shrunk.
    pub(crate) fn apply(&self, events: &[Appended], tail_bytes_max: usize) -> isize {
        let mut untold = Vec::new();
        let grown = {
            let state = &mut *self.state.lock();
            let before = state.room.tail().bytes();
            for event in events {
                state.room.apply(event, tail_bytes_max);
            }
            for (_, follower) in &mut state.followers {
                if !std::mem::replace(&mut follower.is_hinted, true) {
                    untold.push(Arc::clone(&follower.link));
                }
            }
            state.room.tail().bytes().cast_signed() - before.cast_signed()
        };
        // Not under the lock, which is the first thing that whoever is woken asks for.
        untold.into_iter().for_each(|link| link.hint(self.id));
        grown
    }

    /// Takes note that events before `first` can not be read any more, and tells the followers, some of whom may
    /// want them. Returns by how many bytes the tail has shrunk, as a negative number.
    pub(crate) fn expire(&self, first: Seq) -> isize {
        let mut untold = Vec::new();
        let grown = {
            let state = &mut *self.state.lock();
            let before = state.room.tail().bytes();
            state.room.expire(first);
            for (_, follower) in &mut state.followers {
                if !std::mem::replace(&mut follower.is_hinted, true) {
                    untold.push(Arc::clone(&follower.link));
                }
            }
            state.room.tail().bytes().cast_signed() - before.cast_signed()
        };
        // As in `apply`.
        untold.into_iter().for_each(|link| link.hint(self.id));
        grown
    }

    /// Lets go of the tail, down to what is kept when memory is short, and of all of it where nobody follows.
    /// Returns by how many bytes it has shrunk.
    pub(crate) fn shrink_tail(&self, bytes_max: usize) -> isize {
        let state = &mut *self.state.lock();
        let before = state.room.tail().bytes();
        state.room.shrink_tail(if state.followers.is_empty() { 0 } else { bytes_max });
        before.cast_signed() - state.room.tail().bytes().cast_signed()
    }

    /// Adds a follower. A durable one takes the place of the device's follower before it, which is told.
    pub(crate) fn follow(self: &Arc<Self>, follower: Follower) -> Follow {
        let state = &mut *self.state.lock();
        let durable = follower.durable;
        let link = Arc::clone(&follower.link);
        let key = state.followers.insert(follower);
        if let Some(device) = durable
            && let Some(before) = state.durable.insert(device, key)
            && let Some(other) = state.followers.get_mut(before)
        {
            other.durable = None;
            if !Arc::ptr_eq(&other.link, &link) {
                other.link.order(Order::Replaced(self.id, FollowKey(before)));
            }
        }
        Follow { entry: Arc::clone(self), key: FollowKey(key) }
    }

    /// Leaves a frame that may be lost with every follower that `chosen` picks.
    pub(crate) fn whisper(&self, frame: &EncodedFrame, chosen: impl Fn(&Follower) -> bool) {
        let state = self.state.lock();
        for (_, follower) in &state.followers {
            if state.is_member(follower) && chosen(follower) {
                follower.link.whisper(frame.clone());
            }
        }
    }

    /// Every follower that `chosen` picks.
    pub(crate) fn links(&self, chosen: impl Fn(&Follower) -> bool) -> Vec<Arc<Link>> {
        let state = self.state.lock();
        state
            .followers
            .iter()
            .filter(|(_, one)| state.is_member(one) && chosen(one))
            .map(|(_, one)| Arc::clone(&one.link))
            .collect()
    }
}

/// A connection's place among a room's followers; giving it up is dropping it.
#[derive(Debug)]
pub(crate) struct Follow {
    entry: Arc<RoomEntry>,
    key: FollowKey,
}

/// Tells one place among a room's followers from another that the connection had or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FollowKey(usize);

impl RoomHandle for Follow {
    fn with<R>(&self, look: impl FnOnce(&Room) -> R) -> R {
        let state = &mut *self.entry.state.lock();
        // Cleared before the room is read: news that comes while it is read is told again.
        if let Some(follower) = state.followers.get_mut(self.key.0) {
            follower.is_hinted = false;
        }
        look(&state.room)
    }
}

impl Follow {
    /// Which place it is.
    pub(crate) fn key(&self) -> FollowKey {
        self.key
    }

    /// Whether it is still its device's durable subscription.
    pub(crate) fn is_durable(&self) -> bool {
        self.entry.state.lock().followers.get(self.key.0).is_some_and(|follower| follower.durable.is_some())
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let state = &mut *self.entry.state.lock();
        let follower = state.followers.remove(self.key.0);
        if let Some(device) = follower.durable
            && state.durable.get(&device) == Some(&self.key.0)
        {
            state.durable.remove(&device);
        }
    }
}
