//! What each reader was shown, in its order (I3, I8, I10, I11, I13).

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::anomaly::Kind;
use crate::facts::{Facts, Room, RoomNo};
use crate::judge::{Findings, Settlement};
use crate::lineage::Place;
use crate::record::{Asked, Change, EXPECTED_ENDS, Phase, Policy, What};

pub(crate) fn judge(facts: &Facts<'_>, settlement: Settlement, findings: &mut Findings) {
    let mut readers =
        Readers { facts, findings, readers: BTreeMap::new(), acked: HashMap::new(), strange: HashSet::new() };
    for line in 0..facts.records.len() {
        readers.findings.count(1);
        readers.take(line);
    }
    readers.end(settlement);
}

struct Readers<'f, 'h> {
    facts: &'f Facts<'h>,
    findings: &'f mut Findings,
    readers: BTreeMap<&'h str, Reader<'h>>,
    /// The highest place that was acknowledged so far, by room.
    acked: HashMap<RoomNo, (Place, usize)>,
    /// Epochs that nobody declared, and that have been named.
    strange: HashSet<(RoomNo, u64)>,
}

/// One stream.
#[derive(Debug)]
struct Reader<'h> {
    room: RoomNo,
    account: &'h str,
    drain: bool,
    asked: usize,
    /// What was acknowledged before it asked.
    floor: Option<(Place, usize)>,
    began: Option<Began>,
    /// The place that comes next; `None` before it begins, and after a reset.
    next: Option<Place>,
    /// When it got its last event.
    last: (usize, u64),
    /// The line at which it ended.
    ended: Option<usize>,
    /// What has been named of it: the first time tells the story.
    named: Vec<Kind>,
}

#[derive(Clone, Copy, Debug)]
struct Began {
    next: u64,
    head: u64,
}

impl<'h> Readers<'_, 'h> {
    fn take(&mut self, line: usize) {
        let record = &self.facts.records[line];
        match &record.what {
            What::Publish(publish) => {
                let Some(room) = self.facts.room_number(&publish.room) else { return };
                if let Phase::Ok { epoch, seq, .. } = publish.phase {
                    let (place, highest) =
                        (Place { epoch, seq }, self.acked.entry(room).or_insert((Place::default(), line)));
                    if place > highest.0 {
                        *highest = (place, line);
                    }
                }
            }
            What::Subscribe(subscribe) => match &subscribe.phase {
                Asked::Invoke { account, drain } => {
                    self.ask(line, &subscribe.reader, &subscribe.room, account, *drain);
                }
                Asked::Ok { epoch, next, head } => {
                    self.begin(line, &subscribe.reader, Place { epoch: *epoch, seq: *next }, *head);
                }
            },
            What::Deliver { reader, epoch, seq, .. } => {
                self.show(line, reader, Place { epoch: *epoch, seq: *seq });
            }
            What::Gap { reader, epoch, from, to, .. } => {
                self.gap(line, reader, Place { epoch: *epoch, seq: *from }, *to);
            }
            What::Reset { reader, epoch, .. } => self.reset(line, reader, *epoch),
            What::Ended { reader, reason, .. } => self.end_of(line, reader, reason),
            _ => {}
        }
    }

    fn ask(&mut self, line: usize, reader: &'h str, room: &str, account: &'h str, drain: bool) {
        let Some(room) = self.facts.room_number(room) else { return };
        let floor = self.acked.get(&room).copied();
        let fresh = Reader {
            room,
            account,
            drain,
            asked: line,
            floor,
            began: None,
            next: None,
            last: (line, 0),
            ended: None,
            named: Vec::new(),
        };
        let known = self.readers.entry(reader).or_insert(fresh);
        (known.asked, known.floor) = (line, floor);
    }

    fn begin(&mut self, line: usize, name: &str, next: Place, head: u64) {
        let Some(reader) = self.readers.get_mut(name) else { return };
        let room = &self.facts.rooms[reader.room.0];
        if let Some((acked, at)) = reader.floor.filter(|(acked, _)| *acked > (Place { seq: head, ..next })) {
            let what = format!(
                "{name} was told that {} stands at {head}, after {} was acknowledged",
                room.name, acked.seq
            );
            reader.name(self.findings, Kind::StaleRead, vec![at, reader.asked, line], what);
        }
        reader.began = Some(Began { next: next.seq, head });
        if reader.drain && room.policy == Policy::All && reader.next.is_none() && next.seq > room.first() {
            let from = Place { seq: room.first(), ..next };
            reader.skip(self.findings, room, name, line, from, next.seq - 1);
        }
        // A reader that takes itself up again goes on where it stood, whatever it asked for.
        reader.next = reader.next.filter(|it| it.epoch == next.epoch).or(Some(next));
        self.know_epoch(line, name, next.epoch);
    }

    fn show(&mut self, line: usize, name: &str, place: Place) {
        let known = self.know_epoch(line, name, place.epoch);
        let Some(reader) = self.readers.get_mut(name) else { return };
        if !known {
            let moved = |it: Place| Place { seq: it.seq.max(place.seq.saturating_add(1)), ..it };
            reader.next = reader.next.map(moved);
            return;
        }
        let room = &self.facts.rooms[reader.room.0];
        if let Some(ended) = reader.ended {
            let what = format!("{name} was shown {} after its end", place.seq);
            reader.name(self.findings, Kind::AfterRemoval, vec![ended, line], what);
        }
        if let Some(kind) = trespass(room, reader, place.seq) {
            let what = format!("{name} of {} was shown {} of {}", reader.account, place.seq, room.name);
            reader.name(self.findings, kind, vec![reader.asked, line], what);
        }
        let next = reader.next.unwrap_or(place);
        if place < next {
            let what = format!("{name} was shown {} where {} comes next", place.seq, next.seq);
            reader.name(self.findings, Kind::Nonmonotonic, vec![reader.last.0, line], what);
            return;
        }
        if place.epoch > next.epoch {
            let what = format!("{name} was led from epoch {} to {} unasked", next.epoch, place.epoch);
            reader.name(self.findings, Kind::Skip, vec![reader.last.0, line], what);
        } else if place.seq > next.seq {
            reader.skip(self.findings, room, name, line, next, place.seq - 1);
        }
        reader.next = Some(Place { seq: place.seq.saturating_add(1), ..place });
        reader.last = (line, self.facts.records[line].t);
    }

    fn gap(&mut self, line: usize, name: &str, from: Place, to: u64) {
        if !self.know_epoch(line, name, from.epoch) {
            return;
        }
        let Some(reader) = self.readers.get_mut(name) else { return };
        let room = &self.facts.rooms[reader.room.0];
        if let Some(next) = reader.next.filter(|it| it.epoch == from.epoch && it.seq < from.seq) {
            reader.skip(self.findings, room, name, line, next, from.seq - 1);
        }
        let last = (from.seq..=to).contains(&reader.next.map_or(0, |it| it.seq));
        let readable = room.policy == Policy::All && room.lineage.survives(Place { seq: to, ..from });
        if readable && room.kept_between(from.seq, to) > 0 {
            let what = format!("{name} was told that {} to {to} is not to be had", from.seq);
            reader.name(self.findings, Kind::NeedlessGap, vec![line], what);
        }
        if last || reader.next.is_none_or(|it| it.seq <= to) {
            reader.next = Some(Place { seq: to.saturating_add(1), ..from });
        }
        reader.last = (line, self.facts.records[line].t);
    }

    fn reset(&mut self, line: usize, name: &str, epoch: u64) {
        self.know_epoch(line, name, epoch);
        if let Some(reader) = self.readers.get_mut(name) {
            (reader.began, reader.next) = (None, None);
            reader.last = (line, self.facts.records[line].t);
        }
    }

    fn end_of(&mut self, line: usize, name: &str, reason: &str) {
        let Some(reader) = self.readers.get_mut(name) else { return };
        reader.ended.get_or_insert(line);
        if !EXPECTED_ENDS.contains(&reason) {
            let what = format!("{name} ended, because: {reason}");
            reader.name(self.findings, Kind::Stuck, vec![line], what);
        }
    }

    /// Whether somebody declared this epoch; names it once where nobody did.
    fn know_epoch(&mut self, line: usize, name: &str, epoch: u64) -> bool {
        let Some(reader) = self.readers.get(name) else { return false };
        let room = &self.facts.rooms[reader.room.0];
        let declared = room.lineage.is_declared(epoch);
        if !declared && self.strange.insert((reader.room, epoch)) {
            let what = format!("{} is in epoch {epoch} for {name}, and nobody knows why", room.name);
            self.findings.name(Kind::UndeclaredEpoch, vec![line], what);
        }
        declared
    }

    /// Whoever has not stopped stands at the head, in time.
    fn end(self, settlement: Settlement) {
        let Readers { facts, findings, readers, .. } = self;
        for (name, mut reader) in readers {
            findings.count(1);
            if reader.ended.is_some() {
                continue;
            }
            let room = &facts.rooms[reader.room.0];
            let Some(next) = reader.next else {
                let what = format!("{name} never began, or never again");
                reader.name(findings, Kind::Stuck, vec![reader.asked], what);
                continue;
            };
            let behind = next.epoch == room.lineage.last() && next.seq <= room.head();
            let missing = room.kept_between(next.seq, room.head());
            let late = settlement.is_late(facts, facts.last_outcome, reader.last.1);
            if next.epoch < room.lineage.last() || (behind && missing > 0) {
                let what = format!(
                    "{name} stands before {} of {}, the head is {}",
                    next.seq,
                    room.name,
                    room.head()
                );
                reader.name(findings, Kind::Stuck, vec![reader.last.0], what);
            } else if late && !reader.drain {
                let what = format!("{name} reached the head too late after the last fault");
                reader.name(findings, Kind::Stuck, vec![reader.last.0], what);
            }
        }
    }
}

impl Reader<'_> {
    fn name(&mut self, findings: &mut Findings, kind: Kind, lines: Vec<usize>, what: String) {
        if !self.named.contains(&kind) {
            self.named.push(kind);
            findings.name(kind, lines, what);
        }
    }

    /// Names what it was led past, unless nobody has that: then it is named where it is missing.
    fn skip(
        &mut self,
        findings: &mut Findings,
        room: &Room<'_>,
        name: &str,
        line: usize,
        from: Place,
        to: u64,
    ) {
        let surviving = room.lineage.survives(Place { seq: to, ..from });
        if surviving && from.seq >= room.first() && room.kept_between(from.seq, to) == 0 {
            return;
        }
        let what = format!("{name} was led past {} to {to} of {}", from.seq, room.name);
        self.name(findings, Kind::Skip, vec![self.last.0, line], what);
    }
}

/// Whether an account was shown what it may not see: behind its removal, or before it came.
fn trespass(room: &Room<'_>, reader: &Reader<'_>, seq: u64) -> Option<Kind> {
    let changes = room.members.get(reader.account)?;
    let began = reader.began?;
    let behind = |seq: u64| changes.partition_point(|(at, _)| *at <= seq);
    let stranger = behind(began.head).checked_sub(1).is_some_and(|last| changes[last].1 == Change::Out);
    // A stream ends with the event that removes its account, also when the account comes again later. To one that
    // begins when the account has come again, the removals before are what was.
    let asked = changes.partition_point(|(at, _)| *at < began.next);
    let within = &changes[if stranger { asked } else { asked.max(behind(began.head)) }..];
    let removed = within.iter().find(|(_, change)| *change == Change::Out);
    if removed.is_some_and(|(at, _)| *at < seq) || (stranger && removed.is_none()) {
        return Some(Kind::AfterRemoval);
    }
    let came = changes[..behind(began.head)].iter().rev().find(|(_, change)| *change == Change::In)?;
    (room.policy == Policy::SinceJoin && seq < came.0).then_some(Kind::BeforeJoin)
}
