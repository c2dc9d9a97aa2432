//! The conversation as it stands: what happens goes in, entries and a status line come out. It has no clock, no
//! terminal and no connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hark_sdk::{Change, Gap, Kind, PresenceState, SignalKind};
use jiff::tz::TimeZone;

use crate::chat::entry::{Body, By, Entry};
use crate::record::{Record, gap_sentence, local_time};
use crate::text::{shorten, visible};

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A room was entered.
    Entered {
        /// Its name.
        room: String,
        /// What it is about.
        topic: String,
        /// Who is a member.
        people: Vec<Person>,
    },
    /// The room is not followed any more.
    Ended {
        /// Why, as a sentence.
        why: String,
    },
    /// An event of the room.
    Event(Record),
    /// Events that can not be delivered.
    Gap(Gap),
    /// So many events have not been received yet.
    Behind(u64),
    /// Somebody does something right now.
    Signal {
        /// Who.
        name: String,
        /// What.
        kind: SignalKind,
    },
    /// Whether somebody is there.
    Presence {
        /// Who.
        name: String,
        /// Whether they are there.
        state: PresenceState,
    },
    /// Somebody changed the name that people see.
    Profile {
        /// Who.
        name: String,
        /// What people see.
        display_name: String,
    },
    /// There is a connection.
    Connected,
    /// There is none, and the next attempt waits.
    Reconnecting {
        /// How long.
        delay: Duration,
        /// Why the last one ended.
        why: String,
    },
    /// A message was handed over.
    Submitted {
        /// Its number here.
        number: u64,
        /// What it says.
        text: String,
    },
    /// The server has it.
    Stored {
        /// Its number here.
        number: u64,
    },
    /// It is not stored, or nobody knows.
    Failed {
        /// Its number here.
        number: u64,
        /// Why, as a sentence.
        why: String,
        /// Whether it may have been stored.
        doubt: Doubt,
    },
}

/// Whether a message that failed may have been stored all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It was not stored.
    None,
    /// Nobody knows.
    MayBeStored,
}

/// A member of the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// The account's name.
    pub(crate) name: String,
    /// The name that people see; may be empty.
    pub(crate) display_name: String,
    /// Whether they are there.
    pub(crate) presence: PresenceState,
    /// The seq of the event by which they became a member: what an older event says about them is over.
    pub(crate) joined: u64,
}

/// The conversation as it stands.
#[derive(Debug)]
pub(crate) struct Model {
    me: String,
    zone: TimeZone,
    room: Option<String>,
    people: BTreeMap<String, Person>,
    /// Who is typing, and until when that is to be believed.
    typing: BTreeMap<String, Instant>,
    /// Messages that the server has not answered yet, oldest first.
    waiting: BTreeMap<u64, String>,
    behind: u64,
    outage: Option<Outage>,
    day: String,
}

/// A time without a connection.
#[derive(Clone, Debug)]
struct Outage {
    since: Instant,
    next: Instant,
    why: String,
}

/// After so long without another word of it nobody types any more.
const TYPING_FOR: Duration = Duration::from_secs(6);

/// How much of a message is repeated to say which one it was.
const QUOTE_COLUMNS: usize = 60;

impl Model {
    /// A conversation of the account `me`, whose times are shown in `zone`.
    pub(crate) fn new(me: &str, zone: TimeZone) -> Model {
        Model {
            me: me.to_owned(),
            zone,
            room: None,
            people: BTreeMap::new(),
            typing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            behind: 0,
            outage: None,
            day: String::new(),
        }
    }

    /// Takes in what happened, and says what is to be shown of it.
    pub(crate) fn on(&mut self, input: Input, now: Instant) -> Vec<Entry> {
        match input {
            Input::Entered { room, topic, people } => self.on_entered(room, &topic, people),
            Input::Ended { why } => self.on_ended(&why),
            Input::Event(record) => self.on_event(&record),
            Input::Gap(gap) => vec![Entry::warning(visible(&gap_sentence(&gap)))],
            Input::Behind(behind) => {
                self.behind = behind;
                Vec::new()
            }
            Input::Signal { name, kind } => {
                self.on_signal(name, kind, now);
                Vec::new()
            }
            Input::Presence { name, state } => self.on_presence(&name, state),
            Input::Profile { name, display_name } => self.on_profile(&name, display_name),
            Input::Connected => self.on_connected(now),
            Input::Reconnecting { delay, why } => {
                let since = self.outage.as_ref().map_or(now, |outage| outage.since);
                self.outage = Some(Outage { since, next: now + delay, why });
                self.typing.clear();
                Vec::new()
            }
            Input::Submitted { number, text } => {
                self.waiting.insert(number, text);
                Vec::new()
            }
            Input::Stored { number } => {
                self.waiting.remove(&number);
                Vec::new()
            }
            Input::Failed { number, why, doubt } => self.on_failed(number, &why, doubt),
        }
    }

    fn on_entered(&mut self, room: String, topic: &str, people: Vec<Person>) -> Vec<Entry> {
        self.people = people.into_iter().map(|person| (person.name.clone(), person)).collect();
        self.typing.clear();
        self.behind = 0;
        let topic = if topic.is_empty() { String::new() } else { format!(": {}", visible(topic)) };
        let words = format!("{}{topic} ({}) /help shows what you can do", visible(&room), self.head_count());
        self.room = Some(room);
        vec![Entry::notice(words)]
    }

    fn on_ended(&mut self, why: &str) -> Vec<Entry> {
        self.room = None;
        self.people.clear();
        self.typing.clear();
        vec![Entry::warning(format!("{}; enter a room with /join, or end with /quit", visible(why)))]
    }

    fn on_event(&mut self, record: &Record) -> Vec<Entry> {
        self.typing.remove(&record.sender);
        self.follow_membership(record);
        let mut entries = self.on_day(record.time_ms);
        entries.push(self.entry(record));
        entries
    }

    /// The entry for an event, whatever the conversation stands at.
    pub(crate) fn entry(&self, record: &Record) -> Entry {
        let time = local_time(record.time_ms, &self.zone, "%H:%M");
        let label = self.label(&record.sender);
        let body = match record.is_published() {
            true => Body::Message {
                name: record.sender.clone(),
                label,
                by: if record.sender == self.me { By::Me } else { By::Other },
                lines: record.lines(),
            },
            false => Body::Notice(format!("{label} {}", record.lines().join(" "))),
        };
        Entry { time, body }
    }

    /// A line where a new day begins.
    fn on_day(&mut self, time_ms: u64) -> Vec<Entry> {
        let day = local_time(time_ms, &self.zone, "%A, %-d %B %Y");
        if day == self.day {
            return Vec::new();
        }
        self.day.clone_from(&day);
        vec![Entry::notice(format!("— {day} —"))]
    }

    fn follow_membership(&mut self, record: &Record) {
        match (&record.change, record.kind) {
            (Some(Change::Join(_)), _) => {
                // Whether they are there comes by itself, as soon as they are seen.
                self.people.entry(record.sender.clone()).or_insert_with(|| Person {
                    name: record.sender.clone(),
                    display_name: String::new(),
                    presence: PresenceState::OFFLINE,
                    joined: record.seq,
                });
            }
            (Some(Change::Kick(body)), _) => self.on_gone(body.name.as_str(), record.seq),
            (_, Kind::LEAVE) => self.on_gone(&record.sender, record.seq),
            _ => {}
        }
    }

    /// Somebody stopped being a member; unless that was before they became one again.
    fn on_gone(&mut self, name: &str, seq: u64) {
        if self.people.get(name).is_some_and(|person| person.joined < seq) {
            self.people.remove(name);
            self.typing.remove(name);
        }
    }

    fn on_signal(&mut self, name: String, kind: SignalKind, now: Instant) {
        match kind {
            SignalKind::TYPING if name != self.me => {
                self.typing.insert(name, now + TYPING_FOR);
            }
            _ => {
                self.typing.remove(&name);
            }
        }
    }

    fn on_presence(&mut self, name: &str, state: PresenceState) -> Vec<Entry> {
        if state == PresenceState::OFFLINE {
            self.typing.remove(name);
        }
        let Some(person) = self.people.get_mut(name) else { return Vec::new() };
        let before = std::mem::replace(&mut person.presence, state);
        let was_there = before != PresenceState::OFFLINE;
        let is_there = state != PresenceState::OFFLINE;
        if was_there == is_there || name == self.me {
            return Vec::new();
        }
        let words = if is_there { "is here" } else { "has gone" };
        vec![Entry::notice(format!("{} {words}", self.label(name)))]
    }

    fn on_profile(&mut self, name: &str, display_name: String) -> Vec<Entry> {
        let Some(person) = self.people.get_mut(name) else { return Vec::new() };
        person.display_name = display_name;
        vec![Entry::notice(format!("{} is now {}", visible(name), self.label(name)))]
    }

    /// One line for a whole outage, however many attempts it took.
    fn on_connected(&mut self, now: Instant) -> Vec<Entry> {
        let Some(outage) = self.outage.take() else { return Vec::new() };
        let seconds = now.saturating_duration_since(outage.since).as_secs_f64();
        vec![Entry::notice(format!("connected again after {seconds:.0} s ({})", visible(&outage.why)))]
    }

    fn on_failed(&mut self, number: u64, why: &str, doubt: Doubt) -> Vec<Entry> {
        let text = self.waiting.remove(&number).unwrap_or_default();
        let fate = match doubt {
            Doubt::None => "not sent",
            Doubt::MayBeStored => "perhaps not sent",
        };
        // The whole of it: whoever wrote it may want to copy it.
        vec![Entry::warning(format!("{fate}: {} ({})", visible(&text), visible(why)))]
    }

    /// A person's name: the one that people see, with the account's where that is another one.
    fn label(&self, name: &str) -> String {
        let display_name = self.people.get(name).map_or("", |person| person.display_name.as_str());
        match display_name {
            "" => visible(name),
            same if same.eq_ignore_ascii_case(name) => visible(name),
            // With the account's name beside it nobody can pass for somebody else.
            other => format!("{} ({})", visible(other), visible(name)),
        }
    }

    fn head_count(&self) -> String {
        let there = self.people.values().filter(|person| person.presence != PresenceState::OFFLINE).count();
        format!("{there} of {} here", self.people.len())
    }

    /// The status line: the room, who is there, who types, and what is not as it should be.
    pub(crate) fn status(&self, now: Instant) -> String {
        let mut parts = Vec::new();
        match &self.room {
            Some(room) => parts.extend([visible(room), self.head_count()]),
            None => parts.push("no room".to_owned()),
        }
        if let Some(outage) = &self.outage {
            let seconds = outage.next.saturating_duration_since(now).as_secs_f64().ceil();
            let when =
                if seconds > 0.0 { format!("trying again in {seconds:.0} s") } else { "trying again".into() };
            parts.push(format!("no connection, {when}: {}", visible(&outage.why)));
        }
        match self.waiting.len() {
            0 => {}
            1 => parts.push("1 message waits".to_owned()),
            count => parts.push(format!("{count} messages wait")),
        }
        if self.behind > 0 {
            parts.push(format!("{} more to come", self.behind));
        }
        parts.extend(self.typing_sentence(now));
        parts.join(" · ")
    }

    fn typing_sentence(&self, now: Instant) -> Option<String> {
        let typing: Vec<&str> =
            self.typing.iter().filter(|(_, until)| **until > now).map(|(name, _)| name.as_str()).collect();
        match typing[..] {
            [] => None,
            [one] => Some(format!("{} is typing…", self.label(one))),
            [one, other] => Some(format!("{} and {} are typing…", self.label(one), self.label(other))),
            _ => Some(format!("{} people are typing…", typing.len())),
        }
    }

    /// Whether a message is without an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The messages that the server has not answered, in short.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        self.waiting.values().map(|text| shorten(&visible(text), QUOTE_COLUMNS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use hark_sdk::{AccountId, JoinBody, KickBody, RoomRole, Seq};

    use super::*;
    use crate::record::tests::{control, message};

    fn person(name: &str, presence: PresenceState) -> Person {
        Person { name: name.into(), display_name: String::new(), presence, joined: 1 }
    }

    /// The room `tea` with alice at this terminal, bob there, and carol away from it.
    fn tea() -> (Model, Instant) {
        let now = Instant::now();
        let mut model = Model::new("alice", TimeZone::UTC);
        let people = vec![
            person("alice", PresenceState::ONLINE),
            person("bob", PresenceState::ONLINE),
            person("carol", PresenceState::OFFLINE),
        ];
        let entered = Input::Entered { room: "tea".into(), topic: "leaf".into(), people };
        let words = plain(&model.on(entered, now));
        assert_eq!(words, ["      * tea: leaf (2 of 3 here) /help shows what you can do"]);
        // The day is known, so that what follows is not about it.
        model.on(Input::Event(message(1, "alice", "first")), now);
        (model, now)
    }

    fn plain(entries: &[Entry]) -> Vec<String> {
        entries.iter().flat_map(Entry::plain).collect()
    }

    #[test]
    fn messages_show_when_who_and_whose() {
        let (mut model, now) = tea();
        assert_eq!(plain(&model.on(Input::Event(message(2, "bob", "hi")), now)), ["12:00   bob: hi"]);
        assert_eq!(plain(&model.on(Input::Event(message(3, "alice", "ho")), now)), ["12:00 » alice: ho"]);
    }

    #[test]
    fn a_new_day_is_announced_once() {
        let (mut model, now) = tea();
        let tomorrow =
            Record { time_ms: message(2, "bob", "").time_ms + 86_400_000, ..message(2, "bob", "hi") };
        let shown = plain(&model.on(Input::Event(tomorrow.clone()), now));
        assert_eq!(shown, ["      * — Friday, 21 November 2025 —", "12:00   bob: hi"]);
        assert_eq!(model.on(Input::Event(tomorrow), now).len(), 1);
    }

    #[test]
    fn a_peer_can_not_write_to_the_terminal() {
        let (mut model, now) = tea();
        let evil = "\x1b[2J\u{9b}1m\u{202e}";
        let mut shown = plain(&model.on(Input::Event(message(2, "bob", evil)), now));
        shown.extend(plain(&model.on(Input::Profile { name: "bob".into(), display_name: evil.into() }, now)));
        shown.extend(plain(&model.on(Input::Ended { why: evil.into() }, now)));
        model.on(Input::Reconnecting { delay: Duration::ZERO, why: evil.into() }, now);
        shown.push(model.status(now));
        let entered = Input::Entered { room: "tea".into(), topic: evil.into(), people: Vec::new() };
        shown.extend(plain(&model.on(entered, now)));
        assert!(shown.iter().all(|line| visible(line) == *line), "{shown:?}");
    }

    #[test]
    fn members_come_and_go() {
        let (mut model, now) = tea();
        let join = Change::Join(JoinBody { role: RoomRole::MEMBER });
        assert_eq!(
            plain(&model.on(Input::Event(control(2, "dave", Kind::JOIN, join)), now)),
            ["12:00 * dave joined"]
        );
        assert_eq!(model.status(now), "tea · 2 of 4 here");
        assert_eq!(
            plain(&model.on(Input::Presence { name: "dave".into(), state: PresenceState::ONLINE }, now)),
            ["      * dave is here"]
        );
        assert_eq!(model.status(now), "tea · 3 of 4 here");
        let kick = Change::Kick(KickBody {
            account: AccountId(4),
            name: "dave".parse().unwrap(),
            reason: "noise".parse().unwrap(),
        });
        let shown = plain(&model.on(Input::Event(control(3, "alice", Kind::KICK, kick)), now));
        assert_eq!(shown, ["12:00 * alice removed dave: noise"]);
        model.on(Input::Event(control(4, "bob", Kind::LEAVE, Change::Leave)), now);
        assert_eq!(model.status(now), "tea · 1 of 2 here");
    }

    #[test]
    fn what_is_read_of_the_past_does_not_change_who_is_here() {
        let (mut model, now) = tea();
        let people = vec![Person { joined: 8, ..person("bob", PresenceState::ONLINE) }];
        model.on(Input::Entered { room: "tea".into(), topic: String::new(), people }, now);
        let join = |seq| {
            Input::Event(control(seq, "bob", Kind::JOIN, Change::Join(JoinBody { role: RoomRole::MEMBER })))
        };
        let leave = |seq| Input::Event(control(seq, "bob", Kind::LEAVE, Change::Leave));
        for replayed in [join(2), leave(7), join(8)] {
            model.on(replayed, now);
            assert_eq!(model.status(now), "tea · 1 of 1 here");
        }
        model.on(leave(9), now);
        assert_eq!(model.status(now), "tea · 0 of 0 here");
    }

    #[test]
    fn presence_is_told_when_it_changes_and_only_of_others() {
        let (mut model, now) = tea();
        let presence = |name: &str, state| Input::Presence { name: name.into(), state };
        assert!(model.on(presence("bob", PresenceState::ONLINE), now).is_empty());
        assert!(model.on(presence("bob", PresenceState::AWAY), now).is_empty());
        assert!(model.on(presence("alice", PresenceState::OFFLINE), now).is_empty());
        assert!(model.on(presence("stranger", PresenceState::ONLINE), now).is_empty());
        assert_eq!(plain(&model.on(presence("bob", PresenceState::OFFLINE), now)), ["      * bob has gone"]);
    }

    #[test]
    fn typing_is_shown_and_forgotten() {
        let (mut model, now) = tea();
        let typing = |name: &str| Input::Signal { name: name.into(), kind: SignalKind::TYPING };
        model.on(typing("bob"), now);
        assert_eq!(model.status(now), "tea · 2 of 3 here · bob is typing…");
        model.on(typing("carol"), now);
        assert!(model.status(now).ends_with("bob and carol are typing…"));
        model.on(typing("alice"), now);
        assert!(model.status(now).ends_with("bob and carol are typing…"));
        model.on(Input::Signal { name: "carol".into(), kind: SignalKind::IDLE }, now);
        assert!(model.status(now).ends_with("bob is typing…"));
        assert_eq!(model.status(now + TYPING_FOR), "tea · 2 of 3 here");
        model.on(typing("bob"), now);
        model.on(Input::Event(message(2, "bob", "done")), now);
        assert_eq!(model.status(now), "tea · 2 of 3 here");
    }

    #[test]
    fn an_outage_is_one_line_however_many_attempts_it_took() {
        let (mut model, now) = tea();
        let lost = |why: &str| Input::Reconnecting { delay: Duration::from_secs(2), why: why.into() };
        assert!(model.on(lost("hung up"), now).is_empty());
        assert_eq!(model.status(now), "tea · 2 of 3 here · no connection, trying again in 2 s: hung up");
        assert!(model.on(lost("refused"), now + Duration::from_secs(2)).is_empty());
        let shown = plain(&model.on(Input::Connected, now + Duration::from_secs(5)));
        assert_eq!(shown, ["      * connected again after 5 s (refused)"]);
        assert!(model.on(Input::Connected, now).is_empty());
        assert_eq!(model.status(now), "tea · 2 of 3 here");
    }

    #[test]
    fn a_message_waits_visibly_until_the_server_has_it() {
        let (mut model, now) = tea();
        model.on(Input::Submitted { number: 1, text: "one".into() }, now);
        model.on(Input::Submitted { number: 2, text: "two".into() }, now);
        assert!(model.status(now).ends_with("2 messages wait"));
        assert_eq!(model.unanswered(), ["one", "two"]);
        assert!(model.on(Input::Stored { number: 1 }, now).is_empty());
        assert!(model.status(now).ends_with("1 message waits"));
    }

    #[test]
    fn a_message_that_failed_is_shown_whole_with_the_reason() {
        let (mut model, now) = tea();
        model.on(Input::Submitted { number: 1, text: "a long thought".into() }, now);
        let failed = Input::Failed { number: 1, why: "too fast".into(), doubt: Doubt::None };
        assert_eq!(plain(&model.on(failed, now)), ["      ! not sent: a long thought (too fast)"]);
        assert!(model.unanswered().is_empty());
        model.on(Input::Submitted { number: 2, text: "x".into() }, now);
        let failed = Input::Failed { number: 2, why: "lost".into(), doubt: Doubt::MayBeStored };
        assert_eq!(plain(&model.on(failed, now)), ["      ! perhaps not sent: x (lost)"]);
    }

    #[test]
    fn nobody_passes_for_somebody_else_by_a_display_name() {
        let (mut model, now) = tea();
        let profile =
            |display_name: &str| Input::Profile { name: "bob".into(), display_name: display_name.into() };
        assert_eq!(plain(&model.on(profile("alice"), now)), ["      * bob is now alice (bob)"]);
        assert_eq!(plain(&model.on(Input::Event(message(2, "bob", "hi")), now)), ["12:00   alice (bob): hi"]);
        model.on(profile(""), now);
        assert_eq!(plain(&model.on(Input::Event(message(3, "bob", "hi")), now)), ["12:00   bob: hi"]);
    }

    #[test]
    fn gaps_and_backlog_are_told() {
        let (mut model, now) = tea();
        let gap = Gap { from: Seq(2), to: Seq(4), reason: None };
        assert_eq!(
            plain(&model.on(Input::Gap(gap), now)),
            ["      ! events 2 to 4 are missing: not delivered"]
        );
        model.on(Input::Behind(7), now);
        assert!(model.status(now).ends_with("7 more to come"));
        model.on(Input::Behind(0), now);
        assert_eq!(model.status(now), "tea · 2 of 3 here");
    }

    #[test]
    fn without_a_room_the_way_on_is_told() {
        let (mut model, now) = tea();
        let shown = plain(&model.on(Input::Ended { why: "you were removed from tea".into() }, now));
        assert!(shown[0].contains("/join"), "{shown:?}");
        assert_eq!(model.status(now), "no room");
    }
}
