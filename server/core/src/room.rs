//! One room: who is in it, what becomes of a request, and what its newest events are.

use std::collections::BTreeMap;

use bytes::Bytes;
use hark_protocol::limits::{REASON_BYTES_MAX, TOPIC_BYTES_MAX};
use hark_protocol::{
    AccountId, EndReason, Epoch, HistoryPolicy, InviteBody, JoinBody, KickBody, Kind, LimitId, Line,
    Retention, RetentionBody, RoleBody, RoomId, RoomRole, Seq, TopicBody, UnixMillis, Visibility, Wire,
};

use crate::authz::{self, Action};
use crate::ports::{Appended, Author, Change, MemberRow, Proposal, RoomRecord, RoomRow};
use crate::tail::{Removal, Tail, TailEvent};
use crate::{Limits, Refusal};

/// What somebody asks of a room. Whatever comes of it goes through the log's writer, so that a retry finds
/// what the first try has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Add an event of a kind that clients may publish.
    Publish {
        /// Its kind.
        kind: Kind,
        /// Its body.
        body: Bytes,
    },
    /// Become a member.
    Join {
        /// How many rooms the account is a member of already.
        rooms_joined: u64,
    },
    /// Stop being a member.
    Leave,
    /// Let an account join.
    Invite {
        /// Whom.
        guest: Author,
    },
    /// Remove a member or an invitation.
    Kick {
        /// Whom.
        member: Author,
        /// Why.
        reason: Line<REASON_BYTES_MAX>,
    },
    /// Change the topic.
    SetTopic {
        /// To this.
        topic: Line<TOPIC_BYTES_MAX>,
    },
    /// Change a member's role.
    SetRole {
        /// Whose.
        member: Author,
        /// To this.
        role: RoomRole,
    },
    /// Change how much of its log the room keeps.
    SetRetention {
        /// To this.
        retention: Retention,
    },
    /// What was asked is refused already, for a reason outside the room; a retry of what is stored is still
    /// answered as such.
    Refused(Refusal),
}

/// What one account can read of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Which incarnation the log is.
    pub epoch: Epoch,
    /// The oldest seq that the account can read.
    pub first: Seq,
    /// Whether `first` is where it is because the account joined there.
    pub since_join: bool,
    /// The newest seq.
    pub head: Seq,
    /// The account's join event.
    pub joined: Seq,
}

/// A room in memory: what the store holds of it, as of the last event that was applied, and its tail.
#[derive(Debug)]
pub struct Room {
    row: RoomRow,
    members: BTreeMap<AccountId, MemberRow>,
    invited: BTreeMap<AccountId, Seq>,
    tail: Tail,
}

impl Room {
    /// The room as the store has it.
    pub fn load(record: RoomRecord) -> Room {
        Room {
            row: record.row,
            members: record.members.into_iter().map(|member| (member.account, member)).collect(),
            invited: record.invited.into_iter().collect(),
            tail: Tail::default(),
        }
    }

    /// The room's row.
    pub fn row(&self) -> &RoomRow {
        &self.row
    }

    /// The room's id.
    pub fn id(&self) -> RoomId {
        self.row.id
    }

    /// The newest seq.
    pub fn head(&self) -> Seq {
        self.row.head
    }

    /// The newest events.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The account's membership.
    pub fn member(&self, account: AccountId) -> Option<&MemberRow> {
        self.members.get(&account)
    }

    /// Members in the order of their accounts, from behind `after`.
    pub fn members_after(&self, after: AccountId) -> impl Iterator<Item = &MemberRow> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.members.range((Excluded(after), Unbounded)).map(|(_, member)| member)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The account's role; `NONE` for somebody who is not a member.
    pub fn role(&self, account: AccountId) -> RoomRole {
        self.member(account).map_or(RoomRole::NONE, |member| member.role)
    }

    /// Whether the account may know that the room is there.
    pub fn is_visible_to(&self, account: AccountId) -> bool {
        self.row.visibility == Visibility::PUBLIC
            || self.members.contains_key(&account)
            || self.invited.contains_key(&account)
    }

    /// What the account can read.
    ///
    /// # Errors
    /// `NotFound` where it may not know of the room, `NotMember` where it may.
    pub fn view(&self, account: AccountId) -> Result<View, Refusal> {
        let member = self.member(account).ok_or_else(|| self.stranger(account))?;
        let since_join = self.row.history == HistoryPolicy::SINCE_JOIN && member.joined > self.row.first;
        Ok(View {
            epoch: self.row.epoch,
            first: if since_join { member.joined } else { self.row.first },
            since_join,
            head: self.row.head,
            joined: member.joined,
        })
    }

    /// Why somebody who is not a member can not do what members do.
    fn stranger(&self, account: AccountId) -> Refusal {
        if self.is_visible_to(account) { Refusal::NotMember } else { Refusal::NotFound("room") }
    }

    /// Judges a request against the room as it is now. Nothing changes before [`Room::apply`].
    pub fn judge(&self, author: &Author, ask: &Ask, limits: &Limits) -> Proposal {
        match self.propose(author, ask, limits) {
            Ok(proposal) => proposal,
            Err(refusal) => Proposal::Refuse(refusal),
        }
    }

    /// The control event against which [`Room::judge`] judges now.
    pub fn judged_at(&self) -> Seq {
        self.row.control
    }

    fn propose(&self, author: &Author, ask: &Ask, limits: &Limits) -> Result<Proposal, Refusal> {
        match ask {
            Ask::Publish { kind, body } => self.publish(author, *kind, body, limits),
            Ask::Join { rooms_joined } => self.join(author, *rooms_joined, limits),
            Ask::Leave => {
                self.permit(author, Action::Leave)?;
                Ok(append(Kind::LEAVE, &Empty, Change::Leave))
            }
            Ask::Invite { guest } => self.invite(author, guest, limits),
            Ask::Kick { member, reason } => self.kick(author, member, reason),
            Ask::SetTopic { topic } => self.set_topic(author, topic),
            Ask::SetRole { member, role } => self.set_role(author, member, *role),
            Ask::SetRetention { retention } => self.set_retention(author, *retention),
            Ask::Refused(refusal) => Err(refusal.clone()),
        }
    }

    /// The author's role, if it allows the action.
    fn permit(&self, author: &Author, action: Action) -> Result<RoomRole, Refusal> {
        let role = self.member(author.account).ok_or_else(|| self.stranger(author.account))?.role;
        match authz::may(action, role, self.row.visibility == Visibility::DIRECT) {
            true => Ok(role),
            false => Err(Refusal::Forbidden("your role in this room does not allow it")),
        }
    }

    fn publish(
        &self,
        author: &Author,
        kind: Kind,
        body: &Bytes,
        limits: &Limits,
    ) -> Result<Proposal, Refusal> {
        self.permit(author, Action::Publish)?;
        if !kind.is_publishable() {
            return Err(match kind.is_known() {
                true => Refusal::Forbidden("events of this kind are made by the server"),
                false => Refusal::Unsupported("this kind of event is unknown"),
            });
        }
        let body_max = u64::from(limits.body_bytes_max());
        if body.len() as u64 > body_max {
            return Err(Refusal::TooLarge { limit: LimitId::BODY_BYTES, value: body_max });
        }
        Ok(Proposal::Append { kind, body: body.clone(), change: Change::None })
    }

    fn join(&self, author: &Author, rooms_joined: u64, limits: &Limits) -> Result<Proposal, Refusal> {
        if let Some(member) = self.member(author.account) {
            return Ok(Proposal::Holds(member.joined));
        }
        if !self.is_visible_to(author.account) {
            return Err(Refusal::NotFound("room"));
        }
        below(LimitId::MEMBERS_PER_ROOM, self.members.len() as u64, limits.members_per_room_max)?;
        below(LimitId::ROOMS_PER_ACCOUNT, rooms_joined, limits.rooms_per_account_max)?;
        let role = RoomRole::MEMBER;
        Ok(append(Kind::JOIN, &JoinBody { role }, Change::Join { role }))
    }

    fn invite(&self, author: &Author, guest: &Author, limits: &Limits) -> Result<Proposal, Refusal> {
        self.permit(author, Action::Invite)?;
        let since = self.member(guest.account).map(|member| member.joined);
        if let Some(since) = since.or_else(|| self.invited.get(&guest.account).copied()) {
            return Ok(Proposal::Holds(since));
        }
        below(LimitId::INVITES_PER_ROOM, self.invited.len() as u64, limits.invites_per_room_max)?;
        let body = InviteBody { account: guest.account, name: guest.name.clone() };
        Ok(append(Kind::INVITE, &body, Change::Invite { account: guest.account }))
    }

    fn kick(
        &self,
        author: &Author,
        member: &Author,
        reason: &Line<REASON_BYTES_MAX>,
    ) -> Result<Proposal, Refusal> {
        let role = self.permit(author, Action::Kick)?;
        if !self.members.contains_key(&member.account) && !self.invited.contains_key(&member.account) {
            return Err(Refusal::NotFound("member"));
        }
        if !authz::may_kick(role, self.role(member.account)) {
            return Err(Refusal::Forbidden("one can remove only members of a lesser role"));
        }
        let body = KickBody { account: member.account, name: member.name.clone(), reason: reason.clone() };
        Ok(append(Kind::KICK, &body, Change::Kick { account: member.account }))
    }

    fn set_topic(&self, author: &Author, topic: &Line<TOPIC_BYTES_MAX>) -> Result<Proposal, Refusal> {
        self.permit(author, Action::SetTopic)?;
        if self.row.topic == *topic {
            return Ok(Proposal::Holds(self.row.control));
        }
        let topic = topic.clone();
        Ok(append(Kind::TOPIC, &TopicBody { topic: topic.clone() }, Change::Topic { topic }))
    }

    fn set_retention(&self, author: &Author, retention: Retention) -> Result<Proposal, Refusal> {
        self.permit(author, Action::SetRetention)?;
        if self.row.retention == retention {
            return Ok(Proposal::Holds(self.row.control));
        }
        Ok(append(Kind::RETENTION, &RetentionBody { retention }, Change::Retention { retention }))
    }

    fn set_role(&self, author: &Author, member: &Author, role: RoomRole) -> Result<Proposal, Refusal> {
        self.permit(author, Action::SetRole)?;
        if !authz::is_assignable(role) {
            return Err(match role.is_known() {
                true => Refusal::Malformed("this role can not be given"),
                false => Refusal::Unsupported("this role is unknown"),
            });
        }
        let now = self.member(member.account).ok_or(Refusal::NotFound("member"))?.role;
        if now == role {
            return Ok(Proposal::Holds(self.row.control));
        }
        let body = RoleBody { account: member.account, name: member.name.clone(), role };
        Ok(append(Kind::ROLE, &body, Change::Role { account: member.account, role }))
    }

    /// Takes note of an event that is on the disk: the head, the change it makes, and the tail, of which at
    /// most `tail_bytes_max` are kept. An event that is known already changes nothing.
    pub fn apply(&mut self, appended: &Appended, tail_bytes_max: usize) {
        let position = appended.position();
        if position.seq <= self.row.head {
            return;
        }
        self.row.head = position.seq;
        self.row.time = position.time;
        if appended.change().is_control() {
            self.row.control = position.seq;
        }
        let removes = self.apply_change(appended, position.seq);
        self.tail.push(position.seq, TailEvent { frame: appended.frame().clone(), removes }, tail_bytes_max);
    }

    /// Carries out an event's change, and says whom it removes.
    fn apply_change(&mut self, appended: &Appended, seq: Seq) -> Option<Removal> {
        let author = appended.author().account;
        match appended.change() {
            Change::None => None,
            Change::Join { role } => {
                self.invited.remove(&author);
                self.members.insert(author, MemberRow { account: author, role: *role, joined: seq });
                None
            }
            Change::Leave => self.remove(author, EndReason::LEFT),
            Change::Kick { account } => self.remove(*account, EndReason::KICKED),
            Change::Topic { topic } => {
                self.row.topic = topic.clone();
                None
            }
            Change::Retention { retention } => {
                self.row.retention = *retention;
                None
            }
            Change::Role { account, role } => {
                if let Some(member) = self.members.get_mut(account) {
                    member.role = *role;
                }
                None
            }
            Change::Invite { account } => {
                self.invited.insert(*account, seq);
                None
            }
        }
    }

    fn remove(&mut self, account: AccountId, reason: EndReason) -> Option<Removal> {
        self.invited.remove(&account);
        self.members.remove(&account).map(|_| Removal { account, reason })
    }

    /// Takes over what the store has, when it knows more than this memory: another server wrote.
    pub fn refresh(&mut self, record: RoomRecord) {
        if record.row.head > self.row.head || record.row.epoch != self.row.epoch {
            *self = Room::load(record);
        }
    }

    /// Takes note that events before `first` can not be read any more, and lets go of them. A room never gets events
    /// back.
    pub fn expire(&mut self, first: Seq) {
        if first > self.row.first {
            self.row.first = first;
            self.tail.drop_before(first);
        }
    }

    /// Lets go of the oldest events of the tail, until it holds no more than `bytes_max`: their readers go to
    /// the store.
    pub fn shrink_tail(&mut self, bytes_max: usize) {
        self.tail.shrink(bytes_max);
    }

    /// When the newest event was stored.
    pub fn time(&self) -> UnixMillis {
        self.row.time
    }
}

/// The body of an event that has none.
struct Empty;

impl Wire for Empty {
    const NAME: &'static str = "body";
    fn size(&self) -> usize {
        0
    }
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut hark_protocol::Reader) -> Result<Self, hark_protocol::DecodeError> {
        Ok(Empty)
    }
}

fn append(kind: Kind, body: &impl Wire, change: Change) -> Proposal {
    let mut bytes = Vec::with_capacity(body.size());
    body.put(&mut bytes);
    Proposal::Append { kind, body: bytes.into(), change }
}

fn below(limit: LimitId, count: u64, max: u32) -> Result<(), Refusal> {
    let value = u64::from(max);
    if count < value { Ok(()) } else { Err(Refusal::Limit { limit, value }) }
}
