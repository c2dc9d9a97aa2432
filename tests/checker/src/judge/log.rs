//! What is in the log against what was acknowledged, shown, sent and refused (I1, I2, I3, I4, I5, I9, I14).

use crate::anomaly::Kind;
use crate::facts::{Facts, Message, MessageNo, Room, RoomNo, Spot, Telling};
use crate::judge::Findings;
use crate::lineage::Place;
use crate::record::CONFLICT;

pub(crate) fn judge(facts: &Facts<'_>, findings: &mut Findings) {
    for (number, room) in facts.rooms.iter().enumerate() {
        findings.count(room.spots.len());
        for (place, spot) in &room.spots {
            disagreement(facts, room, *place, spot, findings);
            gone(facts, room, *place, spot, findings);
            if let Some(line) = spot.damaged {
                findings.name(Kind::Damaged, vec![line], format!("the record at {}", name(room, *place)));
            }
        }
        holes(facts, RoomNo(number), findings);
        epochs(room, findings);
    }
    findings.count(facts.messages.len());
    for (number, message) in facts.messages.iter().enumerate() {
        origin_of(facts, MessageNo(number), findings);
        places_of(facts, message, findings);
    }
}

/// Two who name different messages at one place.
fn disagreement(facts: &Facts<'_>, room: &Room<'_>, place: Place, spot: &Spot<'_>, out: &mut Findings) {
    if let [(_, one), (_, other), ..] = spot.acks[..] {
        let what = format!("two messages were acknowledged at {}", name(room, place));
        out.name(Kind::SeqReuse, vec![one, other], what);
        return;
    }
    let Some(first) = spot.tellings.first() else { return };
    if let Some(other) = spot.tellings.iter().find(|it| it.message != first.message) {
        let what = format!(
            "{} is {} to one and {} to another",
            name(room, place),
            facts.messages[first.message.0].cid,
            facts.messages[other.message.0].cid
        );
        out.name(Kind::InconsistentOffsets, vec![first.line, other.line], what);
    }
}

/// What was acknowledged or shown and is not in the log at the end.
fn gone(facts: &Facts<'_>, room: &Room<'_>, place: Place, spot: &Spot<'_>, out: &mut Findings) {
    let expected = room.lineage.survives(place) && place.seq >= room.first();
    if !expected || spot.damaged.is_some() {
        return;
    }
    if let [(message, line)] = spot.acks[..] {
        if spot.kept.is_some_and(|(_, kept)| kept == message) {
            return;
        }
        let (it, at) = (&facts.messages[message.0], name(room, place));
        if is_nowhere(facts, room, message) {
            let what = format!("{}, acknowledged at {at}, is not in the log", it.cid);
            out.name(Kind::LostWrite, vec![line], what);
        } else if it.acked.len() == 1 {
            // Where it was answered twice, that is the cause and has its own name.
            let what = format!("{} was acknowledged at {at}, and stands elsewhere", it.cid);
            out.name(Kind::InconsistentOffsets, vec![line], what);
        }
    } else if let (None, Some(line), true) = (spot.kept, spot.shown, spot.acks.is_empty())
        && spot.tellings.iter().all(|it| is_sent(&facts.messages[it.message.0]))
    {
        out.name(Kind::Vanished, vec![line], format!("{} was shown, and is gone", name(room, place)));
    }
}

/// Whether a message is at no place of the log at the end.
fn is_nowhere(facts: &Facts<'_>, room: &Room<'_>, message: MessageNo) -> bool {
    let holds = |place: &Place| {
        room.spots.get(place).and_then(|spot| spot.kept).is_some_and(|(_, kept)| kept == message)
    };
    !facts.messages[message.0].seen.iter().any(holds)
}

fn is_sent(message: &Message<'_>) -> bool {
    message.control || !message.attempts.is_empty()
}

/// Seqs between first and head of which neither the store nor anybody else knows.
fn holes(facts: &Facts<'_>, number: RoomNo, out: &mut Findings) {
    let room = &facts.rooms[number.0];
    let Some((first, head)) = room.bounds else { return };
    out.count(room.kept.len());
    let mut next = first.max(1);
    let behind = [head.saturating_add(1)];
    for seq in room.kept.iter().chain(&behind).copied().filter(|seq| *seq >= first) {
        if seq > next {
            hole(facts, room, next, seq - 1, out);
        }
        next = next.max(seq.saturating_add(1));
    }
}

fn hole(facts: &Facts<'_>, room: &Room<'_>, from: u64, to: u64, out: &mut Findings) {
    let known = |seq: u64| {
        let place = room.lineage.origin(Place { epoch: room.lineage.last(), seq });
        room.spots.contains_key(&place)
    };
    // Of a range that is longer than the history, somebody knows less than all.
    let unknown = to - from >= facts.records.len() as u64 || !(from..=to).all(known);
    if unknown {
        let what = format!("{} from {from} to {to} is not in the store", room.name);
        out.name(Kind::Hole, Vec::new(), what);
    }
}

/// Epochs in which something was acknowledged or shown, and that nobody declared.
fn epochs(room: &Room<'_>, out: &mut Findings) {
    let mut last = None;
    for (place, spot) in &room.spots {
        if last != Some(place.epoch) && !room.lineage.is_declared(place.epoch) {
            let line = spot.acks.first().map(|(_, line)| *line).or(spot.shown);
            let what = format!("{} is in epoch {}, and nobody knows why", room.name, place.epoch);
            out.name(Kind::UndeclaredEpoch, line.into_iter().collect(), what);
        }
        last = Some(place.epoch);
    }
}

/// Whether what was seen of a message is what was sent, by somebody, not in vain, and before.
fn origin_of(facts: &Facts<'_>, number: MessageNo, out: &mut Findings) {
    let message = &facts.messages[number.0];
    let room = &facts.rooms[message.room.0];
    let tellings = message.seen.iter().filter_map(|place| room.spots.get(place)).flat_map(|it| &it.tellings);
    let mut tellings = tellings.filter(|it| it.message == number);
    let Some(first) = tellings.clone().min_by_key(|it| it.line).filter(|_| !message.control) else { return };
    let Some(sent) = message.attempts.first() else {
        match facts.sent_bodies.get(&(message.room, first.hash)) {
            Some(sent) => {
                let what = format!("{} has the body of a message that was sent as another one", message.cid);
                out.name(Kind::Duplicate, vec![*sent, first.line], what);
            }
            None => out.name(Kind::Ghost, vec![first.line], format!("{} was never sent", message.cid)),
        }
        return;
    };
    if first.line < sent.line {
        let what = format!("{} was shown before it was sent", message.cid);
        out.name(Kind::Ghost, vec![first.line, sent.line], what);
    } else if message.attempts.iter().all(|it| it.refused().is_some()) && stays(room, message) {
        let what = format!("{} was refused each time, and is there", message.cid);
        out.name(Kind::RefusedShown, vec![sent.line, first.line], what);
    } else if let Some((kind, telling)) = tellings.find_map(|it| wrong_body(message, it)) {
        let what = format!("the body of {} is not the one that was sent", message.cid);
        out.name(kind, vec![sent.line, telling.line], what);
    }
}

/// Whether a message was seen in a log that was not put back since: what was shown of one that was may well be
/// refused when it is sent again.
fn stays(room: &Room<'_>, message: &Message<'_>) -> bool {
    message.seen.iter().any(|place| room.lineage.survives(*place))
}

/// Names a telling whose body no attempt that may have succeeded has sent.
fn wrong_body<'t, 'h>(message: &Message<'h>, telling: &'t Telling<'h>) -> Option<(Kind, &'t Telling<'h>)> {
    let mut same = message.attempts.iter().filter(|it| it.hash == telling.hash).peekable();
    if same.peek().is_none() {
        return Some((Kind::Corrupt, telling));
    }
    same.all(|it| it.refused() == Some(CONFLICT)).then_some((Kind::ConflictApplied, telling))
}

/// Whether a message is at one place.
fn places_of(facts: &Facts<'_>, message: &Message<'_>, out: &mut Findings) {
    let room = &facts.rooms[message.room.0];
    let together = |places: &[Place]| -> Option<(Place, Place)> {
        places
            .windows(2)
            .map(|pair| (pair[0], pair[1]))
            .find(|(one, other)| room.lineage.coexist(*one, *other))
    };
    let mut acked = message.acked.clone();
    acked.sort_unstable();
    let places: Vec<Place> = acked.iter().map(|(place, ..)| *place).collect();
    if let Some((one, other)) = together(&places) {
        let what = format!("{} was acknowledged at {} and at {}", message.cid, one.seq, other.seq);
        let lines = acked.iter().map(|(_, line, _)| *line).collect();
        out.name(Kind::AnotherSeq, lines, what);
    }
    let mut seen = message.seen.clone();
    seen.sort_unstable();
    if let Some((one, other)) = together(&seen) {
        let line = |place: Place| room.spots[&place].tellings.first().map(|it| it.line);
        let what = format!("{} stands at {} and at {}", message.cid, one.seq, other.seq);
        out.name(Kind::Duplicate, [line(one), line(other)].into_iter().flatten().collect(), what);
    }
}

fn name(room: &Room<'_>, place: Place) -> String {
    format!("{} {}/{}", room.name, place.epoch, place.seq)
}
