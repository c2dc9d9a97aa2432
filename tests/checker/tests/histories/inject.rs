//! Anomalies put into valid histories: each of them breaks one thing, in the room [`TEA`] unless it needs another.

use std::collections::HashMap;

use hark_checker::Kind;
use hark_checker::record::{Asked, CONFLICT, Phase, Publish, Record, Subscribe, Told, What};

use crate::chance::Chance;
use crate::generate::{DEN, TEA};

/// A message of the room that was sent once and acknowledged once.
#[derive(Clone)]
struct Sent {
    cid: String,
    session: String,
    seq: u64,
    invoke: usize,
    ok: usize,
    /// The first line in which anybody is shown it.
    shown: usize,
}

/// Puts an anomaly into a history; false when there is no place for it.
pub(crate) fn inject(kind: Kind, records: &mut Vec<Record>, chance: &mut Chance) -> bool {
    let done = match kind {
        Kind::LostWrite => lose(records, chance),
        Kind::Duplicate => double(records, chance),
        Kind::AnotherSeq => answer_otherwise(records, chance),
        Kind::ConflictApplied => apply_conflict(records, chance),
        Kind::SeqReuse => reuse(records, chance),
        Kind::Hole => dig(records, chance),
        Kind::Skip => skip(records, chance),
        Kind::NeedlessGap => declare_gap(records, chance),
        Kind::InconsistentOffsets => disagree(records, chance),
        Kind::Ghost => conjure(records, chance),
        Kind::RefusedShown => refuse_what_is_there(records, chance),
        Kind::Reorder => swap_in_session(records, chance),
        Kind::Realtime => send_after_acknowledged(records, chance),
        Kind::StaleRead => forget_head(records),
        Kind::Nonmonotonic => show_again(records, chance),
        Kind::Vanished => vanish(records, chance),
        Kind::AfterRemoval => show_after_removal(records),
        Kind::BeforeJoin => show_before_join(records, chance),
        Kind::Stuck => leave_open(records, chance),
        Kind::Corrupt => change_body(records, chance),
        Kind::Damaged => damage(records, chance),
        Kind::UndeclaredEpoch => change_epoch(records, chance),
    };
    done.is_some()
}

/// Messages of the room that can be broken without breaking anything else.
fn plain(records: &[Record]) -> Vec<Sent> {
    let mut invokes: HashMap<&str, Vec<(usize, &str)>> = HashMap::new();
    let mut oks: HashMap<&str, Vec<(usize, u64)>> = HashMap::new();
    let mut shown: HashMap<&str, usize> = HashMap::new();
    let mut stored: HashMap<&str, u64> = HashMap::new();
    for (line, record) in records.iter().enumerate() {
        match &record.what {
            What::Publish(Publish { room, cid, phase, .. }) if room == TEA => match phase {
                Phase::Invoke { session, .. } => invokes.entry(cid).or_default().push((line, session)),
                Phase::Ok { seq, .. } => oks.entry(cid).or_default().push((line, *seq)),
                _ => {}
            },
            What::Deliver { room, event, .. } if room == TEA => {
                shown.entry(&event.cid).or_insert(line);
            }
            What::Store { room, seq, event, .. } if room == TEA => {
                stored.insert(&event.cid, *seq);
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (cid, sent) in invokes {
        let ([(invoke, session)], Some([(ok, seq)])) = (&sent[..], oks.get(cid).map(|it| &it[..])) else {
            continue;
        };
        if stored.get(cid) == Some(seq) {
            let shown = shown.get(cid).copied().unwrap_or(usize::MAX);
            let (cid, session) = (cid.to_owned(), (*session).to_owned());
            found.push(Sent { cid, session, seq: *seq, invoke: *invoke, ok: *ok, shown });
        }
    }
    found.sort_by_key(|it| it.seq);
    found
}

fn any(records: &[Record], chance: &mut Chance) -> Option<Sent> {
    chance.pick(&plain(records)).cloned()
}

fn is_drain(reader: &str) -> bool {
    reader.starts_with("drain")
}

/// Deliveries in the room to readers who live through the run, but for the last of each.
fn deliveries(records: &[Record]) -> Vec<usize> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    let mut lines = Vec::new();
    for (line, record) in records.iter().enumerate() {
        if let What::Deliver { reader, room, .. } = &record.what
            && room == TEA
            && !is_drain(reader)
        {
            lines.extend(last.insert(reader, line));
        }
    }
    lines
}

/// The deliveries among these that show a message which is in the store at the end.
fn of_plain(records: &[Record], lines: Vec<usize>) -> Vec<usize> {
    let kept: HashMap<String, u64> = plain(records).into_iter().map(|it| (it.cid, it.seq)).collect();
    let is_kept = |line: &usize| matches!(&records[*line].what, What::Deliver { event, .. } if kept.contains_key(&event.cid));
    lines.into_iter().filter(is_kept).collect()
}

/// Changes what everybody is told at a place.
fn rewrite(records: &mut [Record], at: u64, change: impl Fn(&mut Told)) {
    for record in records {
        match &mut record.what {
            What::Deliver { room, seq, event, .. } | What::Store { room, seq, event, .. }
                if room == TEA && *seq == at =>
            {
                change(event);
            }
            _ => {}
        }
    }
}

/// Removes what the store and the fresh readers say of a place.
fn remove_from_log(records: &mut Vec<Record>, at: u64) {
    records.retain(|record| match &record.what {
        What::Store { room, seq, .. } => room != TEA || *seq != at,
        What::Deliver { reader, room, seq, .. } => room != TEA || *seq != at || !is_drain(reader),
        _ => true,
    });
}

/// Removes all that an author said of a message.
fn unsend(records: &mut Vec<Record>, message: &str) {
    records.retain(|it| !matches!(&it.what, What::Publish(Publish { cid, .. }) if cid == message));
}

fn lose(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    remove_from_log(records, it.seq);
    Some(())
}

fn double(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let (one, other) = (any(records, chance)?, any(records, chance)?);
    let (first, second) = if one.seq < other.seq { (one, other) } else { (other, one) };
    let told = records.iter().find_map(|record| match &record.what {
        What::Store { room, seq, event, .. } if room == TEA && *seq == first.seq => Some(event.clone()),
        _ => None,
    })?;
    if first.seq == second.seq {
        return None;
    }
    unsend(records, &second.cid);
    let fresh = chance.one_in(2);
    rewrite(records, second.seq, |event| {
        *event = told.clone();
        if fresh {
            event.cid = "fresh".into();
        }
    });
    Some(())
}

/// Writes lines right before the fresh readers come.
fn before_the_end(records: &mut Vec<Record>, like: &Sent, phases: Vec<Phase>) -> Option<()> {
    let at = records.iter().position(|it| is_drain(&it.client))?;
    let (t, sample) = (records[at].t, records[like.invoke].clone());
    let What::Publish(publish) = sample.what else { return None };
    for (n, phase) in phases.into_iter().enumerate() {
        let what = What::Publish(Publish { phase, ..publish.clone() });
        records.insert(at + n, Record { t, client: sample.client.clone(), what });
    }
    Some(())
}

fn invoke_again(like: &Sent, hash: &str) -> Phase {
    Phase::Invoke { session: like.session.clone(), hash: hash.to_owned() }
}

fn hash_of(records: &[Record], sent: &Sent) -> String {
    match &records[sent.invoke].what {
        What::Publish(Publish { phase: Phase::Invoke { hash, .. }, .. }) => hash.clone(),
        other => panic!("an invoke, not {other:?}"),
    }
}

fn answer_otherwise(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    let later = records.iter().filter_map(|record| match &record.what {
        What::Store { room, seq, event, .. } if room == TEA && event.control && *seq > it.seq => Some(*seq),
        _ => None,
    });
    let seq = *chance.pick(&later.collect::<Vec<_>>())?;
    let hash = hash_of(records, &it);
    let ok = Phase::Ok { epoch: 1, seq, duplicate: true };
    before_the_end(records, &it, vec![invoke_again(&it, &hash), ok])
}

fn apply_conflict(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    rewrite(records, it.seq, |event| event.hash = "other".into());
    let refusal = Phase::Fail { code: CONFLICT.into() };
    before_the_end(records, &it, vec![invoke_again(&it, "other"), refusal])
}

/// Neighbours in the log for which `fits` holds.
fn neighbours(
    records: &[Record],
    chance: &mut Chance,
    fits: impl Fn(&Sent, &Sent) -> bool,
) -> Option<(Sent, Sent)> {
    let all = plain(records);
    let pairs = all.windows(2).filter(|it| it[0].seq + 1 == it[1].seq && fits(&it[0], &it[1]));
    let pairs: Vec<(Sent, Sent)> = pairs.map(|it| (it[0].clone(), it[1].clone())).collect();
    chance.pick(&pairs).cloned()
}

fn reuse(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let (one, other) = neighbours(records, chance, |_, _| true)?;
    let What::Publish(Publish { phase: Phase::Ok { seq, .. }, .. }) = &mut records[other.ok].what else {
        return None;
    };
    *seq = one.seq;
    Some(())
}

fn dig(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    if chance.one_in(4) {
        for record in records {
            if let What::Head { room, head, .. } = &mut record.what
                && room == TEA
            {
                *head += 3;
            }
        }
        return Some(());
    }
    let it = any(records, chance)?;
    unsend(records, &it.cid);
    records.retain(|record| match &record.what {
        What::Store { room, seq, .. } | What::Deliver { room, seq, .. } => room != TEA || *seq != it.seq,
        _ => true,
    });
    Some(())
}

fn skip(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    records.remove(line);
    Some(())
}

fn declare_gap(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let What::Deliver { reader, room, epoch, seq, .. } = records[line].what.clone() else { return None };
    records[line].what = What::Gap { reader, room, epoch, from: seq, to: seq, reason: "retention".into() };
    Some(())
}

fn disagree(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let told = Told { author: "ann".into(), cid: "stray".into(), hash: "stray".into(), control: false };
    let What::Deliver { event, .. } = &mut records[line].what else { return None };
    *event = told.clone();
    let phases = [
        Phase::Info { why: "gave up".into() },
        Phase::Invoke { session: "stray".into(), hash: told.hash.clone() },
    ];
    for phase in phases {
        let (room, author, cid) = (TEA.to_owned(), told.author.clone(), told.cid.clone());
        let what = What::Publish(Publish { room, author, cid, phase });
        let t = records[3].t;
        records.insert(3, Record { t, client: "stray".into(), what });
    }
    Some(())
}

fn conjure(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    unsend(records, &it.cid);
    Some(())
}

fn set_outcome(records: &mut [Record], line: usize, outcome: Phase) -> Option<()> {
    let What::Publish(Publish { phase, .. }) = &mut records[line].what else { return None };
    *phase = outcome;
    Some(())
}

fn refuse_what_is_there(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    set_outcome(records, it.ok, Phase::Fail { code: "rate".into() })
}

fn swap_in_session(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let fits = |one: &Sent, other: &Sent| {
        one.session == other.session && other.invoke < one.ok && other.invoke < one.shown
    };
    let (one, other) = neighbours(records, chance, fits)?;
    let what = records[one.invoke].what.clone();
    records[one.invoke].what = std::mem::replace(&mut records[other.invoke].what, what);
    Some(())
}

fn send_after_acknowledged(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let sends = |session: &str, from: usize, to: usize| {
        records[from + 1..to].iter().any(|record| {
            matches!(&record.what, What::Publish(Publish { room, phase: Phase::Invoke { session: its, .. }, .. })
                if room == TEA && its == session)
        })
    };
    let fits = |one: &Sent, other: &Sent| {
        one.session != other.session
            && other.ok < one.ok
            && other.ok < one.shown
            && one.invoke < other.ok
            && !sends(&one.session, one.invoke, other.ok)
    };
    let (one, other) = neighbours(records, chance, fits)?;
    let mut moved = records.remove(one.invoke);
    // What came behind it has moved one line up, the acknowledgement too; a nanosecond between them is enough.
    moved.t = records[other.ok - 1].t + 1;
    records.insert(other.ok, moved);
    Some(())
}

fn forget_head(records: &mut [Record]) -> Option<()> {
    let acked = plain(records).last()?.seq;
    let begun = records.iter_mut().find_map(|record| match &mut record.what {
        What::Subscribe(Subscribe { room, reader, phase: Asked::Ok { head, .. } })
            if room == TEA && is_drain(reader) =>
        {
            Some(head)
        }
        _ => None,
    })?;
    *begun = acked - 1;
    Some(())
}

fn show_again(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let again = records[line].clone();
    records.insert(line + 1, again);
    Some(())
}

fn vanish(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let What::Deliver { event, seq, .. } = records[line].what.clone() else { return None };
    let it = plain(records).into_iter().find(|it| it.cid == event.cid)?;
    set_outcome(records, it.ok, Phase::Info { why: "gave up".into() })?;
    remove_from_log(records, seq);
    Some(())
}

fn show_after_removal(records: &mut Vec<Record>) -> Option<()> {
    let ended = records.iter().position(
        |it| matches!(&it.what, What::Ended { room, reason, .. } if room == TEA && reason == "kicked"),
    )?;
    let What::Deliver { reader, seq, epoch, .. } = records[ended - 1].what.clone() else { return None };
    let (seq, event) = records.iter().find_map(|record| match &record.what {
        What::Store { room, seq: at, event, .. } if room == TEA && *at == seq + 1 && event.control => {
            Some((*at, event.clone()))
        }
        _ => None,
    })?;
    let what = What::Deliver { reader: reader.clone(), room: TEA.into(), epoch, seq, event };
    let t = records[ended].t;
    records.insert(ended + 1, Record { t, client: reader, what });
    Some(())
}

/// A reader that began with its own join is shown the event before it.
fn show_before_join(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let came = |account: &str, at: u64| {
        records.iter().any(|record| {
            matches!(&record.what, What::Member { room, seq, account: who, .. }
                if room == DEN && *seq == at && who == account)
        })
    };
    let mut begun = Vec::new();
    for pair in 1..records.len() {
        if let What::Subscribe(Subscribe { room, phase: Asked::Invoke { account, drain: false }, .. }) =
            &records[pair - 1].what
            && let What::Subscribe(Subscribe { phase: Asked::Ok { next, .. }, .. }) = &records[pair].what
            && room == DEN
            && *next > 1
            && came(account, *next)
        {
            begun.push(pair);
        }
    }
    let line = *chance.pick(&begun)?;
    let record = records[line].clone();
    let What::Subscribe(Subscribe { reader, room, phase: Asked::Ok { epoch, next, head } }) = record.what
    else {
        return None;
    };
    let event = records.iter().find_map(|record| match &record.what {
        What::Store { room, seq, event, .. } if room == DEN && *seq == next - 1 => Some(event.clone()),
        _ => None,
    })?;
    let sent = records[..line].iter().any(|it| {
        matches!(&it.what, What::Publish(Publish { cid, .. }) if *cid == event.cid) || event.control
    });
    let (t, client) = (record.t, record.client);
    let phase = Asked::Ok { epoch, next: next - 1, head };
    let what = What::Deliver { reader: reader.clone(), room: room.clone(), epoch, seq: next - 1, event };
    records[line].what = What::Subscribe(Subscribe { reader, room, phase });
    records.insert(line + 1, Record { t, client, what });
    sent.then_some(())
}

fn leave_open(records: &mut Vec<Record>, chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    records.remove(it.ok);
    Some(())
}

fn change_body(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let What::Deliver { event, .. } = &mut records[line].what else { return None };
    event.hash = "flipped".into();
    Some(())
}

fn damage(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let it = any(records, chance)?;
    records.iter_mut().find_map(|record| match &mut record.what {
        What::Store { room, seq, damaged, .. } if room == TEA && *seq == it.seq => {
            *damaged = true;
            Some(())
        }
        _ => None,
    })
}

fn change_epoch(records: &mut [Record], chance: &mut Chance) -> Option<()> {
    let line = *chance.pick(&of_plain(records, deliveries(records)))?;
    let What::Deliver { epoch, .. } = &mut records[line].what else { return None };
    *epoch = 99;
    Some(())
}
