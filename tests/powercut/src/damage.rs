//! Damage beyond power cuts: an index that is gone or nonsense, and single bits that flip in the log.

use std::path::Path;

use hark_core::ports::{LogReader, Stored};
use hark_core::testkit::drafts::message;
use hark_protocol::UnixMillis;

use crate::anomaly::{Anomaly, Kind};
use crate::history::Answer;
use crate::planted::Planted;
use crate::reading::Reading;
use crate::rng::Rng;
use crate::verdict::{append, open};

/// A client id that nobody else uses.
const NUMBER: u64 = 1 << 50;

/// Takes the index away, or makes nonsense of it.
///
/// # Errors
/// When the folder can not be changed.
pub fn index(folder: &Path, rng: &mut Rng) -> Result<(), Anomaly> {
    let path = folder.join("index.db");
    if !path.exists() {
        return Ok(());
    }
    match rng.below(3) {
        0 => std::fs::remove_file(&path)?,
        1 => std::fs::write(&path, "no index ".repeat(900))?,
        _ => std::fs::write(&path, "")?,
    }
    // What is left of its write-ahead log stays: it belongs to nothing now.
    Ok(())
}

/// Flips one bit of one event in the log's file, and expects that event alone to be gone, for good.
///
/// # Errors
/// That the flip was shown, hid something else, or had a seq given out again.
pub fn flipped(folder: &Path, planted: Option<Planted>, rng: &mut Rng) -> Result<(), Anomaly> {
    let stores = open(folder)?;
    let before = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
    drop(stores);
    let last_of_a_room =
        |place: usize| before.stored.get(place + 1).is_none_or(|(room, _)| before.stored[place].0 != *room);
    let newest_only = planted == Some(Planted::HeadFromWhatIsLeft) || rng.percent(30);
    let places: Vec<usize> =
        (0..before.stored.len()).filter(|place| !newest_only || last_of_a_room(*place)).collect();
    let Some(place) = rng.pick(&places).copied() else { return Ok(()) };
    if !flip(folder, &before.stored[place].1, rng)? {
        return Ok(());
    }
    if let Some(planted) = planted {
        planted.before_opening(folder)?;
    }
    expect_one_damaged(folder, &before, place)
}

fn expect_one_damaged(folder: &Path, before: &Reading, place: usize) -> Result<(), Anomaly> {
    let mut stores = open(folder)?;
    let after = Reading::of(&*stores.reader).map_err(|error| Kind::StoreFailed.seen(error))?;
    let (room, was) = &before.stored[place];
    let head = before.rooms.iter().find(|it| it.row.id == *room).map(|it| it.row.head);
    // First what is given out next: a seq that is used twice is worse than anything that is read.
    let outcomes = append(&mut stores, UnixMillis(1), vec![message(*room, 1, NUMBER, "after the flip")])?;
    let next = outcomes.first().and_then(|outcome| Answer::of(outcome).position()).map(|it| it.seq);
    Kind::SeqReused.unless(next == head.map(|head| head.next()), || {
        format!("behind {head:?} of {room:?} came {next:?}, because {:?} was damaged", was.seq())
    })?;
    for (number, (expected, found)) in before.stored.iter().zip(&after.stored).enumerate() {
        let right = match number == place {
            true => found.1 == Stored::Damaged { seq: was.seq() },
            false => expected == found,
        };
        Kind::Damaged.unless(right, || format!("{room:?} {:?} was flipped; found {found:?}", was.seq()))?;
    }
    Kind::Damaged.unless(before.stored.len() == after.stored.len(), || "a flip hides other events".into())?;
    let record = stores.reader.room(*room).map_err(|error| Kind::StoreFailed.seen(error))?;
    Kind::RoomDisagrees
        .unless(record.map(|it| it.row.head) == next, || format!("{room:?} is not at {next:?}"))
}

/// Flips a bit in the place where the event's bytes stand; `false` if they do not stand together on one page.
fn flip(folder: &Path, stored: &Stored, rng: &mut Rng) -> Result<bool, Anomaly> {
    let Stored::Event { frame, .. } = stored else { return Ok(false) };
    let path = folder.join("log.db");
    let mut bytes = std::fs::read(&path)?;
    let frame = frame.as_slice();
    let Some(start) = find(&bytes, frame) else { return Ok(false) };
    bytes[start + rng.index(frame.len())] ^= 1 << rng.below(8);
    std::fs::write(&path, bytes)?;
    Ok(true)
}

/// Where a page holds these bytes and nowhere else does: an old copy on a free page would not be read.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut found = bytes.windows(wanted.len()).enumerate().filter(|(_, it)| *it == wanted);
    let (start, _) = found.next()?;
    found.next().is_none().then_some(start)
}
