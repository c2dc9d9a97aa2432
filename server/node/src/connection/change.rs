//! The requests that make or change rooms: what has to be looked up for them, and then the writer.

use std::sync::Arc;

use hark_core::Refusal;
use hark_core::epoch::next_epoch;
use hark_core::ports::{Author, DirectoryError, NewRoom};
use hark_core::room::Ask;
use hark_protocol::{
    AccountName, ClientId, Correlation, Epoch, Frame, HistoryPolicy, LimitId, Line, RoomId, RoomJoin,
    RoomName, RoomRole, Visibility,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use crate::entropy::random_bytes;
use crate::hub::Hub;
use crate::link::{Answer, Prepared};
use crate::room_entry::RoomEntry;
use crate::writer::{Goal, Job};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins a change of a room. What comes behind it waits, so that its place in the order is kept.
    pub(super) fn change(&mut self, correlation: Correlation, frame: Frame) {
        let Some(author) = self.author() else { return };
        self.is_preparing = true;
        let request = self.hub.identities.hash(&frame);
        let (refusal, wait) = self.rate(&author);
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            let prepared = prepare(&hub, &author, frame).await.map(|(entry, ask, client_id)| {
                let goal = Goal::Room(entry, refusal.map_or(ask, Ask::Refused));
                Prepared {
                    job: Job {
                        link: Arc::clone(&link),
                        correlation,
                        author,
                        client_id,
                        request,
                        goal,
                        publish: None,
                    },
                    wait,
                }
            });
            link.answer(Answer::Prepared(correlation, Box::new(prepared)));
        });
    }

    /// Begins to make a room.
    pub(super) fn create(&mut self, correlation: Correlation, frame: Frame) {
        let Some(author) = self.author() else { return };
        self.is_preparing = true;
        let request = self.hub.identities.hash(&frame);
        let (refusal, wait) = self.rate(&author);
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            let prepared = new_room(&hub, &author, frame).await.map(|(client_id, room, verdict)| {
                let goal = Goal::Create(room, refusal.map_or(verdict, Err));
                Prepared {
                    job: Job {
                        link: Arc::clone(&link),
                        correlation,
                        author,
                        client_id,
                        request,
                        goal,
                        publish: None,
                    },
                    wait,
                }
            });
            link.answer(Answer::Prepared(correlation, Box::new(prepared)));
        });
    }
}

type Change = (Arc<RoomEntry>, Ask, ClientId);

/// Looks up what a change needs to know.
async fn prepare(hub: &Hub, author: &Author, frame: Frame) -> Result<Change, Refusal> {
    let (room, client_id, ask) = match frame {
        Frame::RoomJoin(join) => return prepare_join(hub, author, join).await,
        Frame::RoomLeave(leave) => (leave.room, leave.client_id, Ask::Leave),
        Frame::RoomInvite(invite) => {
            let guest = account(hub, invite.account).await?;
            (invite.room, invite.client_id, Ask::Invite { guest })
        }
        Frame::RoomKick(kick) => {
            let member = account(hub, kick.account).await?;
            (kick.room, kick.client_id, Ask::Kick { member, reason: kick.reason })
        }
        Frame::RoomTopic(topic) => (topic.room, topic.client_id, Ask::SetTopic { topic: topic.topic }),
        Frame::RoomRetention(set) => {
            (set.room, set.client_id, Ask::SetRetention { retention: set.retention })
        }
        Frame::RoomRoleSet(set) => {
            let member = account(hub, set.account).await?;
            (set.room, set.client_id, Ask::SetRole { member, role: set.role })
        }
        _ => return Err(Refusal::Unsupported("this does not change a room")),
    };
    Ok((hub.room(room).await?, ask, client_id))
}

async fn prepare_join(hub: &Hub, author: &Author, join: RoomJoin) -> Result<Change, Refusal> {
    let entry = room_named(hub, &author.name, join.name).await?;
    let account = author.account;
    let rooms_joined = hub.storage.read(move |reader| reader.rooms_joined(account)).await?;
    Ok((entry, Ask::Join { rooms_joined }, join.client_id))
}

/// The room of that name. That two other accounts have a direct room is not to be found out, by the time that
/// the answer takes either.
pub(super) async fn room_named(
    hub: &Hub,
    asking: &AccountName,
    name: RoomName,
) -> Result<Arc<RoomEntry>, Refusal> {
    if name.is_direct() && !name.is_of(asking) {
        return Err(Refusal::NotFound("room"));
    }
    let room: Option<RoomId> = hub.storage.read(move |reader| reader.room_id(&name)).await?;
    hub.room(room.ok_or(Refusal::NotFound("room"))?).await
}

/// The account of that name, as somebody that something is done to.
async fn account(hub: &Hub, name: AccountName) -> Result<Author, Refusal> {
    let row = hub
        .storage
        .directory(move |directory| directory.account(&name).map_err(DirectoryError::from))
        .await?;
    let row = row.ok_or(Refusal::NotFound("account"))?;
    Ok(Author { account: row.id, name: row.name })
}

/// A room that is wanted, and whether its author may make it if it is not there yet.
type Creation = (ClientId, NewRoom, Result<(), Refusal>);

async fn new_room(hub: &Hub, author: &Author, frame: Frame) -> Result<Creation, Refusal> {
    let epoch = new_epoch(hub);
    let (client_id, room) = match frame {
        Frame::RoomCreate(create) => {
            if create.name.is_direct() || create.visibility == Visibility::DIRECT {
                return Err(Refusal::Malformed("a direct room is opened with ROOM_DIRECT"));
            }
            if !create.visibility.is_known() || !create.history.is_known() {
                return Err(Refusal::Unsupported("this kind of room is unknown"));
            }
            let room = NewRoom {
                name: create.name,
                visibility: create.visibility,
                history: create.history,
                topic: create.topic,
                epoch,
                members: vec![(author.clone(), RoomRole::OWNER)],
            };
            (create.client_id, room)
        }
        Frame::RoomDirect(direct) => {
            let other = account(hub, direct.account).await?;
            let name = RoomName::direct(&author.name, &other.name)
                .ok_or(Refusal::Malformed("a direct room is for two accounts"))?;
            let room = NewRoom {
                name,
                visibility: Visibility::DIRECT,
                history: HistoryPolicy::ALL,
                topic: Line::default(),
                epoch,
                members: vec![(author.clone(), RoomRole::MEMBER), (other, RoomRole::MEMBER)],
            };
            (direct.client_id, room)
        }
        _ => return Err(Refusal::Unsupported("this does not make a room")),
    };
    let (account, value) = (author.account, u64::from(hub.limits().rooms_per_account_max));
    let joined = hub.storage.read(move |reader| reader.rooms_joined(account)).await?;
    let full = Refusal::Limit { limit: LimitId::ROOMS_PER_ACCOUNT, value };
    Ok((client_id, room, if joined < value { Ok(()) } else { Err(full) }))
}

/// An epoch that no other incarnation of the log has had.
fn new_epoch(hub: &Hub) -> Epoch {
    let chance = u64::from_be_bytes(random_bytes(&*hub.entropy.0));
    next_epoch(hub.clock.0.now(), chance, Epoch(0))
}
