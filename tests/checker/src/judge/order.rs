//! The order of a log against the order in which its messages were sent (I6, I7).

use std::collections::HashMap;

use crate::anomaly::Kind;
use crate::facts::{Facts, Message};
use crate::judge::Findings;
use crate::lineage::Place;

pub(crate) fn judge(facts: &Facts<'_>, findings: &mut Findings) {
    sessions(facts, findings);
    real_time(facts, findings);
}

/// What one session sent in one room, in this order, stands there in this order.
fn sessions(facts: &Facts<'_>, findings: &mut Findings) {
    let mut sent: Vec<(usize, &Message<'_>, Place)> =
        facts.messages.iter().filter_map(|it| sent_once(it).map(|(line, place)| (line, it, place))).collect();
    findings.count_sorting(sent.len());
    sent.sort_unstable_by_key(|(line, ..)| *line);
    let mut last = HashMap::new();
    for (line, message, place) in sent {
        let key = (message.room, message.attempts[0].session);
        let before = last.insert(key, (line, message, place));
        // What only a log that was put back has seen is not compared with what came after.
        let lineage = &facts.rooms[message.room.0].lineage;
        let is_wrong = |stands: Place| stands > place && lineage.coexist(stands, place);
        if let Some((earlier, first, stands)) = before.filter(|(.., stands)| is_wrong(*stands)) {
            let (session, seq) = (key.1, place.seq);
            let what = format!(
                "{session} sent {} before {}, which stand at {} and {seq}",
                first.cid, message.cid, stands.seq
            );
            findings.name(Kind::Reorder, vec![earlier, line], what);
            // The later place stays the mark, or all that follow would be named for one that is wrong.
            last.insert(key, (earlier, first, stands.min(place)));
        }
    }
}

/// The line and the one place of a message that was sent once. Of one that was sent again by its author nobody
/// knows which attempt was stored.
fn sent_once(message: &Message<'_>) -> Option<(usize, Place)> {
    let [attempt] = &message.attempts[..] else { return None };
    let place = match (&message.acked[..], &message.seen[..]) {
        ([(place, ..)], _) => *place,
        ([], [place]) => *place,
        _ => return None,
    };
    Some((attempt.line, place))
}

/// A message that was acknowledged before another was sent.
struct Sent<'f, 'h> {
    place: Place,
    message: &'f Message<'h>,
    invoked: u64,
    acked: u64,
    line: usize,
}

/// Who is acknowledged before another is sent stands before it: from the highest place down, nobody may be sent
/// after the earliest acknowledgement above.
fn real_time(facts: &Facts<'_>, findings: &mut Findings) {
    let mut rooms: HashMap<_, Vec<Sent<'_, '_>>> = HashMap::new();
    for message in &facts.messages {
        let Some(first) = message.attempts.first() else { continue };
        for (place, line, acked) in &message.acked {
            let (place, acked, line) = (*place, *acked, *line);
            rooms.entry(message.room).or_default().push(Sent {
                place,
                message,
                invoked: first.t,
                acked,
                line,
            });
        }
    }
    for mut sent in rooms.into_values() {
        findings.count_sorting(sent.len());
        sent.sort_unstable_by_key(|it| std::cmp::Reverse(it.place));
        let mut earliest: Option<&Sent<'_, '_>> = None;
        for it in &sent {
            if let Some(above) = earliest.filter(|above| is_overtaken(above, it)) {
                let what = format!(
                    "{} was acknowledged at {} before {} was sent, which stands at {}",
                    above.message.cid, above.place.seq, it.message.cid, it.place.seq
                );
                findings.name(Kind::Realtime, vec![above.line, it.message.attempts[0].line, it.line], what);
            }
            if earliest.is_none_or(|above| it.acked < above.acked) {
                earliest = Some(it);
            }
        }
    }
}

/// Whether `above` was acknowledged before `it` was sent, and stands behind it.
fn is_overtaken(above: &Sent<'_, '_>, it: &Sent<'_, '_>) -> bool {
    above.place > it.place && above.acked < it.invoked && !is_one_pipeline(above, it)
}

/// Whether both belong to one session's order, which is judged by itself.
fn is_one_pipeline(one: &Sent<'_, '_>, other: &Sent<'_, '_>) -> bool {
    let session =
        |it: &Sent<'_, '_>| sent_once(it.message).map(|_| it.message.attempts[0].session.to_owned());
    session(one).is_some_and(|it| Some(it) == session(other))
}
