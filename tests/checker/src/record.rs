//! One line of a history, format version 1: what somebody did, saw or was told, and when.
//!
//! A history is JSON lines. `t` counts nanoseconds of one monotonic clock that all who write share; `client` says
//! who writes; `op` says what happened; the other keys belong to it. Lines of several files are merged by `t`.
//!
//! | op | phase | keys | written by |
//! |---|---|---|---|
//! | `history` | | version, origin | the rig, once, first |
//! | `enabled` | | faults | the rig: kinds of faults that this run sets out to make |
//! | `room` | | room, epoch, history | the rig, once for each room |
//! | `publish` | `invoke` | session, room, author, cid, hash | an author, before it hands the message over |
//! | | `ok` | room, author, cid, epoch, seq, duplicate | … when it is told that the message is stored |
//! | | `fail` | room, author, cid, code | … when it is told that it is definitely not |
//! | | `info` | room, author, cid | … when it gives up without knowing |
//! | `subscribe` | `invoke` | reader, room, account, drain | a reader, before it asks |
//! | | `ok` | reader, room, epoch, next, head | … when it is told where its events begin |
//! | `deliver` | | reader, room, epoch, seq, author, cid, hash, control | a reader, for every event |
//! | `gap` | | reader, room, epoch, from, to, reason | a reader that is told what it will not get |
//! | `reset` | | reader, room, epoch | a reader that is told that the log is another one |
//! | `ended` | | reader, room, reason | a reader: `kicked`, `left`, `reset`, or `stopped` when it stopped by itself |
//! | `member` | | room, epoch, seq, account, change | whoever knows at which event an account came or went |
//! | `restore` | | room, from, epoch, kept | the rig: `epoch` continues `from` behind seq `kept` |
//! | `fault` | | kind, effective | the rig, for every fault; whether anybody can have felt it |
//! | `store` | | room, seq, author, cid, hash, control, damaged | the dump of the store, for every record |
//! | `head` | | room, epoch, first, head | the dump of the store, for every room |
//! | `end` | | | the rig, once, last: a history without it was cut short |
//!
//! A `session` is one pipeline of one author: what it publishes in a room stands there in that order. A reader is
//! one stream of one room, across reconnects; one that takes itself up again (a bare connection, not the SDK)
//! writes `subscribe ok` again under its name. A `drain` is a fresh reader from the beginning, when all is over.

use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Nanoseconds of the one clock.
    pub t: u64,
    /// Who writes.
    pub client: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum What {
    /// The format, and where the history comes from (a command, a seed).
    History {
        /// [`VERSION`].
        version: u32,
        /// For people.
        origin: String,
    },
    /// Kinds of faults that the run makes; each must have had an effect often enough.
    Enabled {
        /// Their names, as in [`What::Fault`].
        faults: Vec<String>,
    },
    /// A room, its first epoch, and what newcomers may read.
    Room {
        /// Its name.
        room: String,
        /// Its epoch when the history begins.
        epoch: u64,
        /// What newcomers may read.
        #[serde(default)]
        history: Policy,
    },
    /// A message on its way into a log.
    Publish(Publish),
    /// A reader asks for a room, or is told where it begins.
    Subscribe(Subscribe),
    /// A reader is shown an event.
    Deliver {
        /// The stream.
        reader: String,
        /// The room.
        room: String,
        /// The log's incarnation.
        epoch: u64,
        /// The event's place.
        seq: u64,
        /// What is there.
        #[serde(flatten)]
        event: Told,
    },
    /// A reader is told of events that it will not get.
    Gap {
        /// The stream.
        reader: String,
        /// The room.
        room: String,
        /// The log's incarnation.
        epoch: u64,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// Why.
        reason: String,
    },
    /// A reader is told that the log is another incarnation; it begins anew or ends.
    Reset {
        /// The stream.
        reader: String,
        /// The room.
        room: String,
        /// The new incarnation.
        epoch: u64,
    },
    /// A stream ended.
    Ended {
        /// The stream.
        reader: String,
        /// The room.
        room: String,
        /// Why; `stopped` where the reader did it.
        reason: String,
    },
    /// An account became a member, or stopped being one, with the event at this place.
    Member {
        /// The room.
        room: String,
        /// The log's incarnation.
        epoch: u64,
        /// The event's place.
        seq: u64,
        /// Who.
        account: String,
        /// Which of the two.
        change: Change,
    },
    /// The log was put back: all that was behind `kept` is gone, with notice.
    Restore {
        /// The room.
        room: String,
        /// The incarnation that was put back.
        from: u64,
        /// The one that continues it.
        epoch: u64,
        /// The last seq that was kept.
        kept: u64,
    },
    /// A fault was made.
    Fault {
        /// Its kind.
        kind: String,
        /// Whether anybody can have felt it.
        effective: bool,
    },
    /// A record of the store, at the end.
    Store {
        /// The room.
        room: String,
        /// Its place.
        seq: u64,
        /// What is there.
        #[serde(flatten)]
        event: Told,
        /// Whether its checksum does not fit.
        #[serde(default, skip_serializing_if = "is_false")]
        damaged: bool,
    },
    /// A room of the store, at the end.
    Head {
        /// The room.
        room: String,
        /// Its incarnation.
        epoch: u64,
        /// The oldest seq that can be read.
        first: u64,
        /// The newest.
        head: u64,
    },
    /// Everything has been written.
    End,
}

/// What newcomers of a room may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All of it.
    #[default]
    All,
    /// What came after they did.
    SinceJoin,
}

/// How a membership changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A member from here on.
    In,
    /// None from here on.
    Out,
}

/// What stands at one place of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Who caused it.
    pub author: String,
    /// The identity that they gave it.
    pub cid: String,
    /// The hash of its body.
    pub hash: String,
    /// Whether the server minted it (a join, a topic): then no `publish` belongs to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub control: bool,
}

/// A message on its way into a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The room.
    pub room: String,
    /// Who.
    pub author: String,
    /// Its identity.
    pub cid: String,
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
}

/// How far a publish is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Phase {
    /// It is handed over.
    Invoke {
        /// The pipeline.
        session: String,
        /// The hash of its body.
        hash: String,
    },
    /// The server says that it is stored.
    Ok {
        /// The log's incarnation.
        epoch: u64,
        /// Where.
        seq: u64,
        /// Whether it was there before.
        #[serde(default)]
        duplicate: bool,
    },
    /// It is certain that this attempt stored nothing.
    Fail {
        /// Why; `conflict` is a code of its own to the checker.
        code: String,
    },
    /// Nobody knows.
    Info {
        /// Why, for people.
        why: String,
    },
}

/// A reader asks for a room, or is told where it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The stream.
    pub reader: String,
    /// The room.
    pub room: String,
    /// How far it is.
    #[serde(flatten)]
    pub phase: Asked,
}

/// How far a subscription is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum Asked {
    /// It is asked for.
    Invoke {
        /// Whose it is.
        account: String,
        /// Whether it is one of the fresh readers at the end.
        #[serde(default, skip_serializing_if = "is_false")]
        drain: bool,
    },
    /// It begins.
    Ok {
        /// The log's incarnation.
        epoch: u64,
        /// The seq of the first event that comes.
        next: u64,
        /// The log's head at that moment.
        head: u64,
    },
}

/// The code of a publish that was refused because its identity belongs to another body.
pub const CONFLICT: &str = "conflict";

/// Reasons for which a stream may end: its reader stopped it, its account is no member any more, its log is another
/// incarnation. One that ends for any other reason is stuck.
pub const EXPECTED_ENDS: [&str; 4] = ["stopped", "left", "kicked", "reset"];

/// The hash of a body, as histories hold it: FNV-1a, 64 bits. It tells bodies apart that nobody forged.
pub fn body_hash(body: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", body.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_terse_as_the_table_says() {
        let invoke = Phase::Invoke { session: "a1".into(), hash: body_hash(b"") };
        let publish = Publish { room: "tea".into(), author: "ann".into(), cid: "c1".into(), phase: invoke };
        let record = Record { t: 5, client: "p".into(), what: What::Publish(publish) };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(
            line,
            r#"{"t":5,"client":"p","op":"publish","room":"tea","author":"ann","cid":"c1","phase":"invoke","session":"a1","hash":"cbf29ce484222325"}"#
        );
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    }

    #[test]
    fn keys_that_are_false_may_be_left_out() {
        let line =
            r#"{"t":1,"client":"s","op":"store","room":"tea","seq":1,"author":"a","cid":"c","hash":"h"}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        assert!(matches!(&record.what, What::Store { damaged: false, event, .. } if !event.control));
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
}
