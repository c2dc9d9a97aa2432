//! Which room a name stands for, as far as the server has said so: what asks for a room by name takes its place behind
//! what is to be changed there.

use std::collections::BTreeMap;

use hark_protocol::{Frame, RoomId, RoomName};

use crate::session::lane::LaneKey;

/// More rooms than an account is a member of by default. What goes beyond has no place among the others of its room.
const NAMES_MAX: usize = 10_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct RoomNames {
    rooms: BTreeMap<RoomName, RoomId>,
}

impl RoomNames {
    /// The lane of a request. A join that passed a publish of its room would be taken before it: refused for want of
    /// membership, and its answer lost, the publish would come again behind those that the join has let in.
    pub(super) fn lane(&self, request: &Frame) -> LaneKey {
        match request {
            Frame::Publish(publish) => Some(publish.room),
            Frame::RoomJoin(join) => self.rooms.get(&join.name).copied(),
            Frame::RoomLeave(leave) => Some(leave.room),
            Frame::RoomInvite(invite) => Some(invite.room),
            Frame::RoomKick(kick) => Some(kick.room),
            Frame::RoomTopic(topic) => Some(topic.room),
            Frame::RoomRoleSet(role) => Some(role.room),
            Frame::RoomRetention(retention) => Some(retention.room),
            _ => None,
        }
    }

    /// Notes what the answer to a request says about a room's name.
    pub(super) fn learn(&mut self, request: &Frame, answer: &Frame) {
        let (name, room) = match (request, answer) {
            (Frame::RoomJoin(join), Frame::Published(published)) => (&join.name, published.room),
            (Frame::RoomCreate(create), Frame::Published(published)) => (&create.name, published.room),
            (_, Frame::Room(answer)) => (&answer.room.name, answer.room.room),
            _ => return,
        };
        if self.rooms.len() < NAMES_MAX {
            self.rooms.insert(name.clone(), room);
        }
    }
}
