//! Short ways to write drafts.

use bytes::Bytes;
use hark_protocol::limits::TOPIC_BYTES_MAX;
use hark_protocol::{
    AccountId, AccountName, ClientId, Epoch, HistoryPolicy, Kind, Line, RoomId, RoomName, RoomRole, Seq,
    Visibility,
};

use crate::Refusal;
use crate::ports::{Author, Change, Draft, NewRoom, Proposal, RequestHash, Target};

/// The author with this account id, named after it.
pub fn author(account: u64) -> Author {
    Author { account: AccountId(account), name: AccountName::parse(&format!("user-{account}")).unwrap() }
}

/// The client id with this number.
pub fn client(number: u64) -> ClientId {
    let mut bytes = [0xc1; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    ClientId::new(bytes).unwrap()
}

/// The request hash of this number.
pub fn request(number: u64) -> RequestHash {
    RequestHash(u128::from(number).to_be_bytes())
}

/// A line for a topic.
pub fn topic(text: &str) -> Line<TOPIC_BYTES_MAX> {
    Line::parse(text).unwrap()
}

/// A room of that name with these members; the first of them is the owner and author.
pub fn new_room(name: &str, visibility: Visibility, members: &[u64]) -> NewRoom {
    let owner = RoomRole::OWNER;
    NewRoom {
        name: RoomName::parse(name).unwrap(),
        visibility,
        history: HistoryPolicy::ALL,
        topic: topic("tea & biscuits"),
        epoch: Epoch(u64::MAX - 7),
        members: members.iter().map(|account| (author(*account), owner)).collect(),
    }
}

/// A draft that makes `room`. Its request is the one numbered 0.
pub fn create(room: NewRoom, number: u64) -> Draft {
    let author = room.members[0].0.clone();
    Draft {
        target: Target::Create(room),
        author,
        client_id: client(number),
        request: request(0),
        proposal: Proposal::Append {
            kind: Kind::JOIN,
            body: Bytes::new(),
            change: Change::Join { role: RoomRole::OWNER },
        },
        judged_at: Seq::ZERO,
    }
}

/// A draft of `account` into `room`, judged against every control event. Its request is the one numbered 0.
pub fn draft(room: RoomId, account: u64, number: u64, proposal: Proposal) -> Draft {
    Draft {
        target: Target::Room(room),
        author: author(account),
        client_id: client(number),
        request: request(0),
        proposal,
        judged_at: Seq(u64::MAX),
    }
}

/// A message of `account` into `room`.
pub fn message(room: RoomId, account: u64, number: u64, text: &str) -> Draft {
    let body = Bytes::copy_from_slice(text.as_bytes());
    draft(room, account, number, Proposal::Append { kind: Kind::MESSAGE, body, change: Change::None })
}

/// A control event of `account` in `room` that changes this.
pub fn control(room: RoomId, account: u64, number: u64, change: Change) -> Draft {
    let kind = match &change {
        Change::None => Kind::MESSAGE,
        Change::Join { .. } => Kind::JOIN,
        Change::Leave => Kind::LEAVE,
        Change::Kick { .. } => Kind::KICK,
        Change::Topic { .. } => Kind::TOPIC,
        Change::Role { .. } => Kind::ROLE,
        Change::Retention { .. } => Kind::RETENTION,
        Change::Invite { .. } => Kind::INVITE,
    };
    draft(room, account, number, Proposal::Append { kind, body: Bytes::from_static(b"body"), change })
}

/// A judgement that refuses.
pub fn refuse() -> Proposal {
    Proposal::Refuse(Refusal::NotMember)
}

/// The same draft as another request.
#[must_use]
pub fn asking(mut draft: Draft, number: u64) -> Draft {
    draft.request = request(number);
    draft
}

/// The same draft, judged against this control event.
#[must_use]
pub fn judged_at(mut draft: Draft, seq: u64) -> Draft {
    draft.judged_at = Seq(seq);
    draft
}
