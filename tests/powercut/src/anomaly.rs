//! What can be wrong with what a power cut left, each with the invariant that it breaks.

use std::fmt;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What kind of thing.
    pub kind: Kind,
    /// What was seen.
    pub evidence: String,
}

/// Kinds of anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// I1: a message was acknowledged, and is gone.
    LostAck,
    /// I9: a reader was shown a message, and it is gone.
    LostShown,
    /// I2: one identity has two seqs.
    Doubled,
    /// I2: a retry of something stored was not answered with its first seq.
    RetryForgotten,
    /// I2: an identity came again with another request, and that was not noticed.
    ConflictMissed,
    /// I3: a room's seqs have a hole.
    Gap,
    /// I3: a seq that had been used was given out again.
    SeqReused,
    /// I4: a seq holds something else than before.
    Changed,
    /// I5: there is a message that nobody sent, or that was refused.
    Ghost,
    /// I7: the log is not in the order in which its groups were handed over.
    Reordered,
    /// A group is there in part.
    TornGroup,
    /// A room's row, members or invitations are not those of its log.
    RoomDisagrees,
    /// Accounts, devices, settings or cursors are not what was answered.
    DirectoryDisagrees,
    /// I14: a record can not be read, or a damaged one was shown as valid.
    Damaged,
    /// The store says something else than the stores in memory.
    Disagrees,
    /// A fault was not reported as it must be.
    FaultHidden,
    /// A folder can not be opened.
    WillNotOpen,
    /// A store that is open fails.
    StoreFailed,
    /// SQLite finds a file damaged.
    Corrupt,
    /// The rig itself could not go on.
    Rig,
}

impl Kind {
    /// An anomaly of this kind.
    pub fn seen(self, evidence: impl fmt::Display) -> Anomaly {
        Anomaly { kind: self, evidence: evidence.to_string() }
    }

    /// Fails unless something holds.
    ///
    /// # Errors
    /// An anomaly of this kind.
    pub fn unless(self, holds: bool, evidence: impl FnOnce() -> String) -> Result<(), Anomaly> {
        if holds { Ok(()) } else { Err(self.seen(evidence())) }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.evidence)
    }
}

impl std::error::Error for Anomaly {}

impl From<std::io::Error> for Anomaly {
    fn from(error: std::io::Error) -> Anomaly {
        Kind::Rig.seen(error)
    }
}
