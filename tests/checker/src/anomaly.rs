//! What can be wrong with a history: one name for each way, and the lines that show it.

use std::fmt;

use crate::record::Record;

/// A way in which a history breaks the promise. One cause gets one name: what follows from it is not told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acknowledged, and not in the log (I1).
    LostWrite,
    /// One identity at two places of one log, or one message under two identities (I2).
    Duplicate,
    /// A retry was answered with another place than the first one (I2).
    AnotherSeq,
    /// A publish that was refused as a conflict changed something (I2).
    ConflictApplied,
    /// Two messages were acknowledged at one place (I2).
    SeqReuse,
    /// The store lacks a seq between first and head that nobody was told of (I3).
    Hole,
    /// A reader was led past events without being told (I3, I10).
    Skip,
    /// A reader was told of a gap where there is none (I3).
    NeedlessGap,
    /// Two who look at one place see different things (I4).
    InconsistentOffsets,
    /// Shown, but nobody had sent it (I5).
    Ghost,
    /// Shown, although every attempt to send it was definitely refused (I5, G1a).
    RefusedShown,
    /// A session's messages stand in another order than it sent them (I6).
    Reorder,
    /// Acknowledged before another was sent, and stands behind it (I7).
    Realtime,
    /// Asked for after an acknowledgement, and does not know of it (I8).
    StaleRead,
    /// A reader's place went back (I8).
    Nonmonotonic,
    /// Shown to a reader, and not in the log (I9).
    Vanished,
    /// Shown to an account after the event that removed it, or on a stream that had ended (I11).
    AfterRemoval,
    /// Shown to an account from before it came, where newcomers may not read that (I11).
    BeforeJoin,
    /// Not resolved, or not at the head, in time after the last fault (I13).
    Stuck,
    /// Shown or stored with another body than was sent (I14).
    Corrupt,
    /// The store holds a record whose checksum does not fit (I14).
    Damaged,
    /// An incarnation of a log that nobody declared (I10).
    UndeclaredEpoch,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 22] = [
        Kind::LostWrite,
        Kind::Duplicate,
        Kind::AnotherSeq,
        Kind::ConflictApplied,
        Kind::SeqReuse,
        Kind::Hole,
        Kind::Skip,
        Kind::NeedlessGap,
        Kind::InconsistentOffsets,
        Kind::Ghost,
        Kind::RefusedShown,
        Kind::Reorder,
        Kind::Realtime,
        Kind::StaleRead,
        Kind::Nonmonotonic,
        Kind::Vanished,
        Kind::AfterRemoval,
        Kind::BeforeJoin,
        Kind::Stuck,
        Kind::Corrupt,
        Kind::Damaged,
        Kind::UndeclaredEpoch,
    ];

    /// Its name, and the invariants that it breaks.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Kind::LostWrite => ("lost-write", "I1"),
            Kind::Duplicate => ("duplicate", "I2"),
            Kind::AnotherSeq => ("another-seq", "I2"),
            Kind::ConflictApplied => ("conflict-applied", "I2"),
            Kind::SeqReuse => ("seq-reuse", "I2"),
            Kind::Hole => ("hole", "I3"),
            Kind::Skip => ("skip", "I3, I10"),
            Kind::NeedlessGap => ("needless-gap", "I3"),
            Kind::InconsistentOffsets => ("inconsistent-offsets", "I4"),
            Kind::Ghost => ("ghost", "I5"),
            Kind::RefusedShown => ("refused-shown", "I5, G1a"),
            Kind::Reorder => ("reorder", "I6"),
            Kind::Realtime => ("realtime", "I7"),
            Kind::StaleRead => ("stale-read", "I8"),
            Kind::Nonmonotonic => ("nonmonotonic", "I8"),
            Kind::Vanished => ("vanished", "I9"),
            Kind::AfterRemoval => ("after-removal", "I11"),
            Kind::BeforeJoin => ("before-join", "I11"),
            Kind::Stuck => ("stuck", "I13"),
            Kind::Corrupt => ("corrupt", "I14"),
            Kind::Damaged => ("damaged", "I14"),
            Kind::UndeclaredEpoch => ("undeclared-epoch", "I10"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name().0)
    }
}

/// One anomaly, before anybody asks to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name.
    pub(crate) kind: Kind,
    /// What was seen.
    pub(crate) what: String,
    /// The lines that show it, as indices into the history.
    pub(crate) lines: Vec<usize>,
}

/// Lines of context at most.
pub const CONTEXT_LINES_MAX: usize = 20;

/// How far from the evidence context is looked for.
const CONTEXT_REACH: usize = 400;

/// The lines that show an anomaly, marked `>`, and around the first of them what the same client wrote: at most
/// [`CONTEXT_LINES_MAX`] in all, in the history's order, each with its number from 1.
pub(crate) fn context(records: &[Record], found: &Found) -> Vec<String> {
    let mut shown: Vec<usize> = found.lines.iter().copied().filter(|line| *line < records.len()).collect();
    shown.sort_unstable();
    shown.dedup();
    shown.truncate(CONTEXT_LINES_MAX);
    let evidence = shown.clone();
    if let Some(&centre) = evidence.first() {
        let around = (1..CONTEXT_REACH).flat_map(|away| [centre.checked_sub(away), Some(centre + away)]);
        for line in around.flatten().filter(|line| *line < records.len()) {
            if shown.len() == CONTEXT_LINES_MAX {
                break;
            }
            if records[line].client == records[centre].client && !evidence.contains(&line) {
                shown.push(line);
            }
        }
        shown.sort_unstable();
    }
    let mark = |line: &usize| if evidence.contains(line) { '>' } else { ' ' };
    let text = |line: &usize| serde_json::to_string(&records[*line]).unwrap_or_default();
    shown.iter().map(|line| format!("{} {:>7} {}", mark(line), line + 1, text(line))).collect()
}
