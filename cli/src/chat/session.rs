//! A conversation with a server: the room that is followed, what is on its way, and what a person asks for. It
//! knows no terminal; a front gives it lines and shows its entries.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hark_sdk::{
    Client, ClientEvent, ClientEvents, Draft, EndReason, Event, Events, HistoryItem, Room, RoomEvent,
    RoomFilter, RoomInfo, SendError, Sent, Seq, SignalKind, Start,
};
use jiff::tz::TimeZone;

use crate::chat::command::{Command, Entered, HELP};
use crate::chat::entry::{Body, Entry};
use crate::chat::model::{Doubt, Input, Model, Person};
use crate::commands::ended;
use crate::exit::{Done, Failure, Outcome};
use crate::output::note;
use crate::record::Record;
use crate::text::visible;

/// A conversation.
pub(crate) struct Session {
    client: Client,
    client_events: ClientEvents,
    place: Option<Place>,
    model: Model,
    /// What was begun and will report. Bounded by what a person types and by what the client queues.
    work: FuturesUnordered<BoxFuture<'static, Report>>,
    /// Lines that were entered while a room was being entered: they are meant for that room.
    held: VecDeque<String>,
    /// What was told about people meanwhile, of whom some may be in that room.
    early: VecDeque<Input>,
    is_entering: bool,
    next_number: u64,
    latest: u64,
    /// The first thing that was not done.
    failed: Option<Failure>,
}

/// The room that is followed.
struct Place {
    room: Room,
    events: Events,
    /// The oldest event that was shown.
    oldest: Option<Seq>,
    /// How far the room was received.
    received: Seq,
    /// The newest of one's own messages there; it is still to be received where that is greater.
    stored: Seq,
}

/// What is remembered about people while a room is being entered; more comes only where that takes very long.
const EARLY_MAX: usize = 256;

/// Something that happened, to be given back to [`Session::take`].
pub(crate) enum Happening {
    /// An item of the followed room.
    Item(Option<RoomEvent>),
    /// Something about the connection.
    Client(Option<ClientEvent>),
    /// Something that was begun has come to its end.
    Report(Report),
}

/// What became of something that was begun.
pub(crate) enum Report {
    /// A message.
    Sent(u64, Result<Sent, SendError>),
    /// A room that was to be entered.
    Entered(Done<Box<Arrival>>),
    /// Anything else: what is to be said about it.
    Said(Done<Vec<Entry>>),
    /// Earlier events.
    Earlier(Done<Vec<HistoryItem>>),
}

/// A room that was entered.
pub(crate) struct Arrival {
    room: Room,
    events: Events,
    info: RoomInfo,
    people: Vec<Person>,
}

/// What a front has to show or to do.
pub(crate) enum Shown {
    /// An entry that is no event.
    Entry(Entry),
    /// An event, for fronts that have another way to show one.
    Event(Record, Entry),
    /// Events that can not be delivered.
    Gap(String, hark_sdk::Gap, Entry),
    /// The end, as was asked for or not.
    End(Done),
}

impl Session {
    /// A conversation in `room`, whose newest `latest` events come first.
    pub(crate) async fn enter(
        client: Client,
        room: &str,
        latest: u16,
        zone: TimeZone,
    ) -> Done<(Session, Vec<Shown>)> {
        // Before anything is asked, so that nobody comes or goes unseen between the question and the answer.
        let client_events = client.events();
        let arrival = arrive(client.room(room).await?, Start::Latest(u64::from(latest))).await?;
        let mut session = Session {
            client_events,
            model: Model::new(client.account().name.as_str(), zone),
            place: None,
            work: FuturesUnordered::new(),
            held: VecDeque::new(),
            early: VecDeque::new(),
            is_entering: false,
            next_number: 1,
            latest: u64::from(latest),
            failed: None,
            client,
        };
        let mut shown = Vec::new();
        session.arrived(arrival, Instant::now(), &mut shown);
        Ok((session, shown))
    }

    /// What happens next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Happening {
        let item = async {
            match &mut self.place {
                Some(place) => place.events.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            report = self.work.next(), if !self.work.is_empty() => match report {
                Some(report) => Happening::Report(report),
                None => Happening::Client(None),
            },
            event = self.client_events.next() => Happening::Client(event),
            item = item => Happening::Item(item),
        }
    }

    /// Takes in what happened.
    pub(crate) fn take(&mut self, happening: Happening, now: Instant, shown: &mut Vec<Shown>) {
        match happening {
            Happening::Item(item) => self.on_item(item, now, shown),
            Happening::Client(Some(event)) => self.on_client(event, now, shown),
            Happening::Client(None) => shown.push(Shown::End(Err(ended(&self.client)))),
            Happening::Report(report) => self.on_report(report, now, shown),
        }
    }

    fn tell(&mut self, input: Input, now: Instant, shown: &mut Vec<Shown>) {
        shown.extend(self.model.on(input, now).into_iter().map(Shown::Entry));
    }

    fn on_item(&mut self, item: Option<RoomEvent>, now: Instant, shown: &mut Vec<Shown>) {
        match item {
            Some(RoomEvent::Event(event)) => self.on_event(&event, now, shown),
            Some(RoomEvent::Gap(gap)) => {
                if let Some(place) = &mut self.place {
                    place.received = gap.to;
                }
                let room = self.room_name();
                for entry in self.model.on(Input::Gap(gap), now) {
                    shown.push(Shown::Gap(room.clone(), gap, entry));
                }
            }
            Some(RoomEvent::Replayed { .. }) => self.tell(Input::Behind(0), now, shown),
            Some(RoomEvent::Lagging { behind, .. }) => self.tell(Input::Behind(behind), now, shown),
            Some(RoomEvent::Signal { name, kind, .. }) => {
                self.tell(Input::Signal { name: name.to_string(), kind }, now, shown);
            }
            Some(RoomEvent::Ended { reason }) => self.on_ended(&reason, now, shown),
            // The end that follows a reset enters the room anew.
            Some(_) => {}
            None => self.on_ended(&EndReason::Closed, now, shown),
        }
    }

    fn on_event(&mut self, event: &Event, now: Instant, shown: &mut Vec<Shown>) {
        let record = Record::new(&self.room_name(), event);
        if let Some(place) = &mut self.place {
            place.oldest.get_or_insert(event.seq);
            place.received = event.seq;
        }
        let mut entries = self.model.on(Input::Event(record.clone()), now);
        if let Some(own) = entries.pop() {
            shown.extend(entries.into_iter().map(Shown::Entry));
            shown.push(Shown::Event(record, own));
        }
    }

    fn on_ended(&mut self, reason: &EndReason, now: Instant, shown: &mut Vec<Shown>) {
        let Some(place) = self.place.take() else { return };
        let name = place.room.name().clone();
        let why = match reason {
            EndReason::Closed => return shown.push(Shown::End(Err(ended(&self.client)))),
            EndReason::Replaced => return,
            EndReason::Reset => {
                shown.push(Shown::Entry(Entry::warning(format!("the log of {name} was replaced"))));
                let latest = self.latest;
                return self.begin_entering(arrive(place.room, Start::Latest(latest)));
            }
            EndReason::Left => format!("you have left {name}"),
            EndReason::Kicked => format!("you were removed from {name}"),
            EndReason::Refused(code) => {
                format!("the server does not let you follow {name} any more ({code})")
            }
            _ => format!("the server ended the subscription of {name}"),
        };
        self.tell(Input::Ended { why }, now, shown);
    }

    fn on_client(&mut self, event: ClientEvent, now: Instant, shown: &mut Vec<Shown>) {
        let input = match event {
            ClientEvent::Connected => Input::Connected,
            ClientEvent::Reconnecting { delay, reason, .. } => {
                Input::Reconnecting { delay, why: reason.to_string() }
            }
            ClientEvent::Presence { name, state, .. } => Input::Presence { name: name.to_string(), state },
            ClientEvent::Profile { name, display_name, .. } => {
                Input::Profile { name: name.to_string(), display_name }
            }
            ClientEvent::Closed { .. } => return shown.push(Shown::End(Err(ended(&self.client)))),
            _ => return,
        };
        if self.is_entering && matches!(input, Input::Presence { .. } | Input::Profile { .. }) {
            if self.early.len() == EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back(input.clone());
        }
        self.tell(input, now, shown);
    }

    fn on_report(&mut self, report: Report, now: Instant, shown: &mut Vec<Shown>) {
        match report {
            Report::Sent(number, Ok(sent)) => {
                if let Some(place) = self.place.as_mut().filter(|place| place.room.id() == sent.room) {
                    place.stored = place.stored.max(sent.seq);
                }
                self.tell(Input::Stored { number }, now, shown);
            }
            Report::Sent(number, Err(error)) => {
                let doubt = if error.kind().is_definite() { Doubt::None } else { Doubt::MayBeStored };
                let failure = Failure::from(error);
                let why = failure.sentence().unwrap_or("nobody knows why").to_owned();
                self.failed.get_or_insert(failure);
                self.tell(Input::Failed { number, why, doubt }, now, shown);
            }
            Report::Entered(Ok(arrival)) => {
                self.arrived(*arrival, now, shown);
                self.release(now, shown);
            }
            Report::Entered(Err(failure)) => {
                self.early.clear();
                self.refused(failure, shown);
                self.release(now, shown);
            }
            Report::Said(Ok(entries)) => shown.extend(entries.into_iter().map(Shown::Entry)),
            Report::Earlier(Ok(items)) => self.show_earlier(&items, shown),
            Report::Said(Err(failure)) | Report::Earlier(Err(failure)) => self.refused(failure, shown),
        }
    }

    fn refused(&mut self, failure: Failure, shown: &mut Vec<Shown>) {
        shown.push(Shown::Entry(Entry::warning(failure.sentence().unwrap_or("it was not done"))));
        self.failed.get_or_insert(failure);
    }

    fn arrived(&mut self, arrival: Arrival, now: Instant, shown: &mut Vec<Shown>) {
        let Arrival { room, events, info, people } = arrival;
        let entered = Input::Entered { room: room.name().to_string(), topic: info.topic.to_string(), people };
        self.place = Some(Place { room, events, oldest: None, received: Seq::ZERO, stored: Seq::ZERO });
        self.tell(entered, now, shown);
        for input in std::mem::take(&mut self.early) {
            self.tell(input, now, shown);
        }
    }

    /// Enters the lines that waited for a room.
    fn release(&mut self, now: Instant, shown: &mut Vec<Shown>) {
        self.is_entering = false;
        while !self.is_entering {
            let Some(line) = self.held.pop_front() else { return };
            self.submit(&line, now, shown);
        }
    }

    fn show_earlier(&mut self, items: &[HistoryItem], shown: &mut Vec<Shown>) {
        let Some(place) = &mut self.place else { return };
        let name = place.room.name().to_string();
        let first = items.iter().find_map(|item| match item {
            HistoryItem::Event(event) => Some(event.seq),
            _ => None,
        });
        place.oldest = first.or(place.oldest);
        if items.is_empty() {
            return shown.push(Shown::Entry(Entry::notice("there is nothing earlier")));
        }
        shown.push(Shown::Entry(Entry::notice("— earlier —")));
        for item in items {
            match item {
                HistoryItem::Event(event) => {
                    let record = Record::new(&name, event);
                    let entry = self.model.entry(&record);
                    shown.push(Shown::Event(record, entry));
                }
                HistoryItem::Gap(gap) => {
                    let entry = Entry::warning(crate::record::gap_sentence(gap));
                    shown.push(Shown::Gap(name.clone(), *gap, entry));
                }
                _ => {}
            }
        }
        shown.push(Shown::Entry(Entry::notice("— now —")));
    }

    /// Takes a line that a person entered.
    pub(crate) fn submit(&mut self, line: &str, now: Instant, shown: &mut Vec<Shown>) {
        let entered = Entered::parse(line);
        if self.is_entering && entered != Entered::Command(Command::Quit) {
            self.held.push_back(line.to_owned());
            return;
        }
        match entered {
            Entered::Nothing => {}
            Entered::Message(text) => self.say(text, now, shown),
            Entered::Command(command) => self.obey(command, shown),
            Entered::Mistaken(why) => shown.push(Shown::Entry(Entry::warning(visible(&why)))),
        }
    }

    fn say(&mut self, text: String, now: Instant, shown: &mut Vec<Shown>) {
        let number = self.next_number;
        self.next_number += 1;
        self.tell(Input::Submitted { number, text: text.clone() }, now, shown);
        match &self.place {
            // Handed over here, so that the order of lines is the order of the log.
            Some(place) => {
                let publishing = place.room.publish(Draft::text(text));
                self.work.push(async move { Report::Sent(number, publishing.await) }.boxed());
            }
            None => {
                let why = "you are in no room; enter one with /join".to_owned();
                self.tell(Input::Failed { number, why, doubt: Doubt::None }, now, shown);
            }
        }
    }

    fn obey(&mut self, command: Command, shown: &mut Vec<Shown>) {
        let client = self.client.clone();
        match command {
            Command::Quit => return shown.push(Shown::End(Ok(()))),
            Command::Help => {
                return shown.extend(HELP.iter().map(|line| Shown::Entry(Entry::notice(*line))));
            }
            Command::Join(name) => {
                let latest = self.latest;
                return self.begin_entering(async move {
                    arrive(client.join(&name).await?, Start::Latest(latest)).await
                });
            }
            Command::Rooms => return self.begin(async move { rooms(&client).await }),
            Command::Nick(name) => {
                return self.begin(async move {
                    client.set_display_name(&name).await?;
                    Ok(vec![Entry::notice(format!("people see {} now", visible(&name)))])
                });
            }
            _ => {}
        }
        let Some(place) = &self.place else {
            return shown.push(Shown::Entry(Entry::warning("you are in no room; enter one with /join")));
        };
        let (room, oldest) = (place.room.clone(), place.oldest);
        match command {
            Command::History(count) => {
                let work = async move { Report::Earlier(earlier(&room, oldest, count).await) };
                self.work.push(work.boxed());
            }
            other => self.begin(async move { with_room(&room, other).await }),
        }
    }

    fn begin(&mut self, work: impl Future<Output = Done<Vec<Entry>>> + Send + 'static) {
        self.work.push(work.map(Report::Said).boxed());
    }

    fn begin_entering(&mut self, work: impl Future<Output = Done<Arrival>> + Send + 'static) {
        self.is_entering = true;
        self.work.push(work.map(|arrival| Report::Entered(arrival.map(Box::new))).boxed());
    }

    /// Tells the room what the person at this terminal is doing.
    pub(crate) fn typing(&self, kind: SignalKind) {
        if let Some(place) = &self.place {
            place.room.typing(kind);
        }
    }

    /// The status line.
    pub(crate) fn status(&self, now: Instant) -> String {
        self.model.status(now)
    }

    /// Whether something is still on its way, there or back.
    pub(crate) fn is_busy(&self) -> bool {
        let is_owed = self.place.as_ref().is_some_and(|place| place.received < place.stored);
        is_owed || !self.work.is_empty() || !self.held.is_empty()
    }

    /// The first thing that was not done, if there was one: for a script, which reads no entries.
    pub(crate) fn failed(&mut self) -> Done {
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Waits for the answers to what was said last, for so long at most. What is left without an answer then is
    /// told: it is nobody's to lose silently.
    pub(crate) async fn settle(&mut self, patience: Duration) -> Done {
        let mut shown = Vec::new();
        let answered = async {
            while self.model.is_waiting() && !self.work.is_empty() {
                if let Some(report) = self.work.next().await {
                    self.on_report(report, Instant::now(), &mut shown);
                }
            }
        };
        // Out of time is no failure of its own: what is without an answer is told below.
        let _ = tokio::time::timeout(patience, answered).await;
        for one in shown {
            if let Shown::Entry(Entry { body: Body::Warning(text), .. }) = one {
                note(text);
            }
        }
        let unanswered = self.model.unanswered();
        if unanswered.is_empty() {
            return Ok(());
        }
        let quotes: Vec<String> = unanswered.iter().map(|text| format!("“{text}”")).collect();
        let words =
            format!("the server did not answer for {}: it may or may not be stored", quotes.join(", "));
        Err(Failure::new(Outcome::Unknown, words))
    }

    fn room_name(&self) -> String {
        self.place.as_ref().map_or_else(String::new, |place| place.room.name().to_string())
    }
}

/// Follows a room and looks around in it.
async fn arrive(room: Room, start: Start) -> Done<Arrival> {
    let events = room.events(start).await?;
    let info = room.info().await?;
    let members = room.members().await?;
    let people = members.iter().map(|member| Person {
        name: member.name.to_string(),
        display_name: member.display_name.to_string(),
        presence: member.presence,
        joined: member.joined.0,
    });
    Ok(Arrival { people: people.collect(), events, info, room })
}

async fn rooms(client: &Client) -> Done<Vec<Entry>> {
    let rooms = client.rooms(RoomFilter::JOINED).await?;
    let line = |info: &RoomInfo| {
        let topic = if info.topic.as_str().is_empty() { "" } else { ": " };
        Entry::notice(visible(&format!("{}{topic}{}", info.name, info.topic)))
    };
    Ok(rooms.iter().map(line).collect())
}

async fn with_room(room: &Room, command: Command) -> Done<Vec<Entry>> {
    match command {
        Command::Who => {
            let members = room.members().await?;
            let lines = members.iter().map(|member| {
                let name = match member.display_name.as_str() {
                    "" => member.name.to_string(),
                    same if same.eq_ignore_ascii_case(member.name.as_str()) => member.name.to_string(),
                    other => format!("{other} ({})", member.name),
                };
                Entry::notice(visible(&format!("{name}, {}, {}", member.role, member.presence)))
            });
            return Ok(lines.collect());
        }
        Command::ShowTopic => {
            let info = room.info().await?;
            let topic =
                if info.topic.as_str().is_empty() { "there is no topic" } else { info.topic.as_str() };
            return Ok(vec![Entry::notice(visible(topic))]);
        }
        Command::Invite(name) => {
            room.invite(&name).await?;
        }
        Command::Kick(name, reason) => {
            room.kick(&name, &reason).await?;
        }
        Command::Topic(text) => {
            room.set_topic(&text).await?;
        }
        Command::Leave => {
            room.leave().await?;
        }
        // Those need no room, and were done already.
        Command::Join(_)
        | Command::Rooms
        | Command::Nick(_)
        | Command::History(_)
        | Command::Help
        | Command::Quit => {}
    }
    // What changed the room comes back as one of its events.
    Ok(Vec::new())
}

async fn earlier(room: &Room, oldest: Option<Seq>, count: u64) -> Done<Vec<HistoryItem>> {
    let history = match oldest {
        Some(oldest) => room.history().before(oldest),
        None => room.history().latest(),
    };
    Ok(history.limit(count).collect().await?)
}
