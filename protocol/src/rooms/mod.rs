//! Frames about rooms and who is in them. What changes a room carries a client id and becomes an event.

mod change;
mod create;
mod list;
mod members;

pub use change::{
    Retention, RoomInvite, RoomJoin, RoomKick, RoomLeave, RoomRetention, RoomRoleSet, RoomTopic,
};
pub use create::{HistoryPolicy, RoomCreate, RoomDirect, Visibility};
pub use list::{Room, RoomFilter, RoomGet, RoomList, RoomSummary, Rooms};
pub use members::{Member, Members, PresenceState, RoomMembers, RoomRole};
