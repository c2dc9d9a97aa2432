//! One event of a room as a person or a script gets it: the same for everybody who asks, whenever they ask.

use bytes::Bytes;
use hark_sdk::{Change, Event, Gap, Kind, Retention, RetentionBody};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::text::{hex, visible, visible_lines};

/// An event with the name of its room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) room: String,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    /// Milliseconds since 1970 on the server's clock.
    pub(crate) time_ms: u64,
    pub(crate) sender: String,
    pub(crate) kind: Kind,
    pub(crate) client_id: String,
    pub(crate) body: Bytes,
    /// What a control event changed.
    pub(crate) change: Option<Change>,
}

impl Record {
    /// What the SDK says about an event, with the room's name in place of its id.
    pub(crate) fn new(room: &str, event: &Event) -> Record {
        Record {
            room: room.to_owned(),
            epoch: event.epoch.0,
            seq: event.seq.0,
            time_ms: event.time.0,
            sender: event.author_name.to_string(),
            kind: event.kind,
            client_id: event.client_id.to_string(),
            body: event.body.clone(),
            change: event.change(),
        }
    }

    /// Whether clients publish events of this kind, as opposed to the server minting them.
    pub(crate) fn is_published(&self) -> bool {
        self.kind.is_publishable()
    }

    /// What a person reads: the message, line by line, or one sentence without its subject.
    pub(crate) fn lines(&self) -> Vec<String> {
        match &self.change {
            Some(change) => vec![sentence(change)],
            None => match std::str::from_utf8(&self.body) {
                Ok(text) if self.kind == Kind::MESSAGE => visible_lines(text),
                _ if self.kind == Kind::MESSAGE => {
                    vec![format!("({} bytes that are no text)", self.body.len())]
                }
                _ => vec![format!("(event of kind {}, {} bytes)", self.kind, self.body.len())],
            },
        }
    }

    /// The object that `--json` prints.
    pub(crate) fn to_json(&self) -> EventJson<'_> {
        let is_text = self.kind.is_publishable().then(|| std::str::from_utf8(&self.body));
        EventJson {
            room: &self.room,
            epoch: self.epoch,
            seq: self.seq,
            time: self.time_ms,
            sender: &self.sender,
            kind: self.kind.to_string(),
            client_id: &self.client_id,
            text: is_text.and_then(Result::ok),
            body_hex: match (is_text, &self.change) {
                (Some(Err(_)), _) => Some(hex(&self.body)),
                // A control event that this version can not read is handed on as it is.
                (None, None) if !self.body.is_empty() => Some(hex(&self.body)),
                _ => None,
            },
            change: self.change.as_ref().map(ChangeJson::new),
        }
    }
}

/// What a control event did, to be read behind the name of who did it.
fn sentence(change: &Change) -> String {
    match change {
        Change::Join(_) => "joined".to_owned(),
        Change::Leave => "left".to_owned(),
        Change::Kick(body) if body.reason.as_str().is_empty() => format!("removed {}", body.name),
        Change::Kick(body) => format!("removed {}: {}", body.name, visible(body.reason.as_str())),
        Change::Topic(body) if body.topic.as_str().is_empty() => "removed the topic".to_owned(),
        Change::Topic(body) => format!("set the topic: {}", visible(body.topic.as_str())),
        Change::Role(body) => format!("made {} {}", body.name, body.role),
        Change::Invite(body) => format!("invited {}", body.name),
        Change::Retention(body) => format!("set what the room keeps: {}", kept(&body.retention)),
        _ => "changed the room".to_owned(),
    }
}

/// What a room keeps, in words.
pub(crate) fn kept(retention: &Retention) -> String {
    let Retention { max_age_s, max_events, max_bytes } = *retention;
    let bounds = [(u64::from(max_age_s), "seconds"), (max_events, "events"), (max_bytes, "bytes")];
    let set: Vec<String> = bounds
        .iter()
        .filter(|(bound, _)| *bound > 0)
        .map(|(bound, unit)| format!("{bound} {unit}"))
        .collect();
    if set.is_empty() { "everything".to_owned() } else { format!("at most {}", set.join(", ")) }
}

/// The stable keys of an event.
#[derive(Debug, Serialize)]
pub(crate) struct EventJson<'a> {
    room: &'a str,
    epoch: u64,
    seq: u64,
    time: u64,
    sender: &'a str,
    kind: String,
    client_id: &'a str,
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<ChangeJson<'a>>,
}

/// What a control event changed.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ChangeJson<'a> {
    Join { role: String },
    Leave {},
    Kick { account: &'a str, reason: &'a str },
    Topic { topic: &'a str },
    Role { account: &'a str, role: String },
    Invite { account: &'a str },
    Retention { max_age_s: u32, max_events: u64, max_bytes: u64 },
}

impl<'a> ChangeJson<'a> {
    fn new(change: &'a Change) -> ChangeJson<'a> {
        match change {
            Change::Join(body) => ChangeJson::Join { role: body.role.to_string() },
            Change::Kick(body) => {
                ChangeJson::Kick { account: body.name.as_str(), reason: body.reason.as_str() }
            }
            Change::Topic(body) => ChangeJson::Topic { topic: body.topic.as_str() },
            Change::Role(body) => {
                ChangeJson::Role { account: body.name.as_str(), role: body.role.to_string() }
            }
            Change::Invite(body) => ChangeJson::Invite { account: body.name.as_str() },
            Change::Retention(RetentionBody {
                retention: Retention { max_age_s, max_events, max_bytes },
            }) => ChangeJson::Retention {
                max_age_s: *max_age_s,
                max_events: *max_events,
                max_bytes: *max_bytes,
            },
            _ => ChangeJson::Leave {},
        }
    }
}

/// A line of `--json` that stands where events can not be delivered.
#[derive(Debug, Serialize)]
pub(crate) struct GapJson<'a> {
    room: &'a str,
    gap: GapRange,
}

#[derive(Debug, Serialize)]
struct GapRange {
    from: u64,
    to: u64,
    reason: Option<String>,
}

impl<'a> GapJson<'a> {
    /// The object for a gap in a room.
    pub(crate) fn new(room: &'a str, gap: &Gap) -> GapJson<'a> {
        let reason = gap.reason.map(|reason| reason.to_string());
        GapJson { room, gap: GapRange { from: gap.from.0, to: gap.to.0, reason } }
    }
}

/// A gap in words.
pub(crate) fn gap_sentence(gap: &Gap) -> String {
    let reason = gap.reason.map_or_else(|| "not delivered".to_owned(), |reason| reason.to_string());
    match gap.from == gap.to {
        true => format!("event {} is missing: {reason}", gap.from),
        false => format!("events {} to {} are missing: {reason}", gap.from, gap.to),
    }
}

/// A server's time in a zone, by the given pattern; `?` for a time that no calendar has.
pub(crate) fn local_time(time_ms: u64, zone: &TimeZone, pattern: &str) -> String {
    let millis = i64::try_from(time_ms).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(time) => time.to_zoned(zone.clone()).strftime(pattern).to_string(),
        Err(_) => "?".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hark_sdk::{AccountId, GapReason, JoinBody, KickBody, RoleBody, RoomRole, Seq, TopicBody};

    use super::*;

    /// A message in the room `tea`.
    pub(crate) fn message(seq: u64, sender: &str, text: &str) -> Record {
        Record {
            room: "tea".into(),
            epoch: 1,
            seq,
            time_ms: 1_763_640_000_000 + seq,
            sender: sender.into(),
            kind: Kind::MESSAGE,
            client_id: format!("{seq:032x}"),
            body: Bytes::copy_from_slice(text.as_bytes()),
            change: None,
        }
    }

    /// A control event in the room `tea`.
    pub(crate) fn control(seq: u64, sender: &str, kind: Kind, change: Change) -> Record {
        Record { kind, body: Bytes::from_static(b"\x01"), change: Some(change), ..message(seq, sender, "") }
    }

    fn json(record: &Record) -> String {
        serde_json::to_string(&record.to_json()).unwrap()
    }

    #[test]
    fn a_message_is_one_line_of_stable_json() {
        assert_eq!(
            json(&message(5, "alice", "hi \"you\"\nthere")),
            r#"{"room":"tea","epoch":1,"seq":5,"time":1763640000005,"sender":"alice","kind":"message","client_id":"00000000000000000000000000000005","text":"hi \"you\"\nthere"}"#
        );
    }

    #[test]
    fn a_body_that_is_no_text_is_kept_in_hex() {
        let record = Record { body: Bytes::from_static(b"\xff\x00"), ..message(5, "alice", "") };
        assert!(json(&record).ends_with(r#""text":null,"body_hex":"ff00"}"#), "{}", json(&record));
        let record = Record { kind: Kind(0x4001), ..message(5, "alice", "{}") };
        assert!(json(&record).contains(r#""kind":"0x4001""#) && json(&record).ends_with(r#""text":"{}"}"#));
    }

    #[test]
    fn control_events_tell_what_changed() {
        let bob = || "bob".parse().unwrap();
        let account = AccountId(2);
        let cases = [
            (Kind::JOIN, Change::Join(JoinBody { role: RoomRole::MEMBER }), r#"{"role":"member"}"#, "joined"),
            (Kind::LEAVE, Change::Leave, "{}", "left"),
            (
                Kind::KICK,
                Change::Kick(KickBody { account, name: bob(), reason: "spam".parse().unwrap() }),
                r#"{"account":"bob","reason":"spam"}"#,
                "removed bob: spam",
            ),
            (
                Kind::TOPIC,
                Change::Topic(TopicBody { topic: "Assam".parse().unwrap() }),
                r#"{"topic":"Assam"}"#,
                "set the topic: Assam",
            ),
            (
                Kind::ROLE,
                Change::Role(RoleBody { account, name: bob(), role: RoomRole::OWNER }),
                r#"{"account":"bob","role":"owner"}"#,
                "made bob owner",
            ),
            (
                Kind::RETENTION,
                Change::Retention(RetentionBody {
                    retention: Retention { max_age_s: 60, max_events: 0, max_bytes: 9 },
                }),
                r#"{"max_age_s":60,"max_events":0,"max_bytes":9}"#,
                "set what the room keeps: at most 60 seconds, 9 bytes",
            ),
        ];
        for (kind, change, expected, words) in cases {
            let record = control(1, "alice", kind, change);
            let line = json(&record);
            assert!(
                line.ends_with(&format!(
                    r#""kind":"{kind}","client_id":"{}","text":null,"change":{expected}}}"#,
                    record.client_id
                )),
                "{line}"
            );
            assert_eq!(record.lines(), [words]);
        }
    }

    #[test]
    fn a_control_event_of_the_future_is_handed_on() {
        let record =
            Record { kind: Kind(0x0177), body: Bytes::from_static(b"\x07"), ..message(1, "alice", "") };
        assert!(json(&record).ends_with(
            r#""kind":"0x0177","client_id":"00000000000000000000000000000001","text":null,"body_hex":"07"}"#
        ));
        assert_eq!(record.lines(), ["(event of kind 0x0177, 1 bytes)"]);
    }

    #[test]
    fn gaps_are_lines_of_their_own() {
        let gap = Gap { from: Seq(3), to: Seq(5), reason: Some(GapReason::RETENTION) };
        assert_eq!(
            serde_json::to_string(&GapJson::new("tea", &gap)).unwrap(),
            r#"{"room":"tea","gap":{"from":3,"to":5,"reason":"retention"}}"#
        );
        assert_eq!(gap_sentence(&gap), "events 3 to 5 are missing: retention");
    }

    #[test]
    fn times_are_local_and_never_panic() {
        assert_eq!(local_time(0, &TimeZone::UTC, "%Y-%m-%d %H:%M:%S"), "1970-01-01 00:00:00");
        assert_eq!(local_time(u64::MAX, &TimeZone::UTC, "%H:%M"), "?");
    }
}
