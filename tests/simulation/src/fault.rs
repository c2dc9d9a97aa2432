//! What can go wrong, and whom it hits.

use std::time::Duration;

/// Something that goes wrong. Clients are named by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes between a client and the server; what is lost is lost for its connection.
    Partition(usize),
    /// Nothing passes from a client to the server.
    PartitionToServer(usize),
    /// Nothing passes from the server to a client.
    PartitionFromServer(usize),
    /// Everything between a client and the server waits, and comes at once at the end.
    Hold(usize),
    /// The way between a client and the server becomes long.
    Slow(usize),
    /// The server dies, its folder stays, and it comes back at the end. Silent: nobody is told by the network.
    ServerCrash {
        /// Whether its last words are lost.
        silent: bool,
    },
    /// The server is told to stop, does so in order, and comes back.
    ServerShutdown,
    /// A client dies and comes back with what it had written down.
    ClientCrash {
        /// Which.
        client: usize,
        /// Whether its last words are lost.
        silent: bool,
    },
    /// A client's connection is reset.
    Reset(usize),
    /// A client's connection is cut when it has written so many more bytes.
    CutAfter(usize, u64),
    /// All connections are cut between a commit and the word of it.
    CutOnCommit,
    /// A client's socket is not read.
    SocketStall(usize),
    /// Appends and looks take up to half a second.
    SlowDisk,
    /// Nothing can be appended.
    DiskFull,
}

impl Fault {
    /// Its kind, as histories call it.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::Partition(_) => "partition",
            Fault::PartitionToServer(_) => "partition-to-server",
            Fault::PartitionFromServer(_) => "partition-from-server",
            Fault::Hold(_) => "hold",
            Fault::Slow(_) => "slow",
            Fault::ServerCrash { silent: false } => "server-crash",
            Fault::ServerCrash { silent: true } => "server-crash-silent",
            Fault::ServerShutdown => "server-shutdown",
            Fault::ClientCrash { silent: false, .. } => "client-crash",
            Fault::ClientCrash { silent: true, .. } => "client-crash-silent",
            Fault::Reset(_) => "reset",
            Fault::CutAfter(..) => "cut-after",
            Fault::CutOnCommit => "cut-on-commit",
            Fault::SocketStall(_) => "socket-stall",
            Fault::SlowDisk => "slow-disk",
            Fault::DiskFull => "disk-full",
        }
    }

    /// Every kind.
    pub const KINDS: [&'static str; 16] = [
        "partition",
        "partition-to-server",
        "partition-from-server",
        "hold",
        "slow",
        "server-crash",
        "server-crash-silent",
        "server-shutdown",
        "client-crash",
        "client-crash-silent",
        "reset",
        "cut-after",
        "cut-on-commit",
        "socket-stall",
        "slow-disk",
        "disk-full",
    ];
}

/// A fault with its time.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}
