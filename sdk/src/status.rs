//! What a client tells about itself: who it is, whether it is connected, and why not.

use std::fmt;
use std::time::Duration;

use hark_protocol::limits::Limit;
use hark_protocol::{
    AccountId, AccountName, AccountRole, Authenticated, DeviceId, ErrorCode, LimitId, PresenceState, Welcome,
};

use crate::error::ConnectErrorKind;

/// Who the client speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccountInfo {
    /// The account.
    pub id: AccountId,
    /// Its name.
    pub name: AccountName,
    /// The name that people see.
    pub display_name: String,
    /// What it may do on the server.
    pub role: AccountRole,
    /// The device; 0 for a login that ends with its connection.
    pub device: DeviceId,
    /// Whether the login took an earlier session up again.
    pub resumed: bool,
    /// For how long the server keeps the session without a connection; zero where there is none.
    pub session_lifetime: Duration,
}

impl AccountInfo {
    pub(crate) fn new(answer: &Authenticated) -> AccountInfo {
        AccountInfo {
            id: answer.account,
            name: answer.name.clone(),
            display_name: answer.display_name.as_str().to_owned(),
            role: answer.role,
            device: answer.device,
            resumed: answer.resumed,
            session_lifetime: Duration::from_secs(u64::from(answer.session_lifetime_s)),
        }
    }
}

/// What the server said about itself when the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The protocol version spoken.
    pub version: u8,
    /// The server's name and version.
    pub agent: String,
    /// Whether the server takes registrations.
    pub registration: bool,
    /// Every limit that the server enforces.
    pub limits: Vec<Limit>,
}

impl ServerInfo {
    pub(crate) fn new(welcome: &Welcome) -> ServerInfo {
        ServerInfo {
            version: welcome.version,
            agent: welcome.agent.as_str().to_owned(),
            registration: welcome.registration,
            limits: welcome.limits.to_vec(),
        }
    }

    /// What the server set a limit to, if it advertised it.
    pub fn limit(&self, id: LimitId) -> Option<u64> {
        self.limits.iter().find(|limit| limit.id == id).map(|limit| limit.value)
    }
}

/// Whether a client is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// An attempt is being made.
    Connecting,
    /// Logged in.
    Connected,
    /// The connection was lost; the next attempt waits.
    Reconnecting {
        /// Which attempt since the loss, counted from 1.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// Why the last connection or attempt ended.
        reason: Reason,
    },
    /// What is outstanding is being finished.
    Closing,
    /// Over, for good.
    Closed {
        /// Why.
        reason: Reason,
    },
}

/// Something that happened to the client, rather than in one of its rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// An attempt to connect begins.
    Connecting,
    /// The client is logged in, and its subscriptions are being taken up again.
    Connected,
    /// The connection was lost, or an attempt failed; the next one waits.
    Reconnecting {
        /// Which attempt since the loss, counted from 1.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// Why the last connection or attempt ended.
        reason: Reason,
    },
    /// A sign of life was asked for and did not come in time. The connection is not given up yet; what is sent may
    /// or may not arrive.
    Suspect {
        /// How long nothing has been heard.
        silent_for: Duration,
    },
    /// The server was in doubt, and lives.
    Recovered {
        /// How long nothing had been heard.
        silent_for: Duration,
    },
    /// The server will close soon. The client finishes what is in flight and comes back by itself.
    GoingAway {
        /// Why.
        code: ErrorCode,
        /// When the client will come back.
        reconnect_after: Duration,
        /// Other addresses of the same service, as the server names them. The client tries them in turn, and then
        /// the one that it was given; whichever answers must show a certificate for the same name as before.
        addresses: Vec<String>,
        /// The server's words.
        text: String,
    },
    /// Whether somebody with whom the account shares a followed room is there.
    Presence {
        /// Who.
        account: AccountId,
        /// Their name.
        name: AccountName,
        /// Whether they are there; may be a value that this version does not name.
        state: PresenceState,
    },
    /// Somebody with whom the account shares a followed room changed the name that people see.
    Profile {
        /// Who.
        account: AccountId,
        /// Their name.
        name: AccountName,
        /// What people see from now on.
        display_name: String,
    },
    /// Over, for good.
    Closed {
        /// Why.
        reason: Reason,
    },
    /// The reader was too slow, and so many events before the next one were dropped. What happens in rooms is
    /// never dropped; this stream only tells of states and of what is gone in a moment anyway.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The application asked for it.
    Requested,
    /// It could not be made.
    Connect(ConnectErrorKind),
    /// The network failed, or the server hung up without a word.
    Lost(String),
    /// Nothing was heard from the server for longer than its heartbeat allows.
    Silent,
    /// The server ended it.
    ClosedByServer {
        /// Why; 0 where there was no error.
        code: ErrorCode,
        /// The server's words.
        text: String,
    },
    /// The server is going away, and said when to come back.
    GoingAway,
    /// Another connection has taken this client's session up. It does not come back by itself: that would drive the
    /// other one out. Only where it may have been a RESUME of its own, from a connection that it had given up, it logs
    /// in anew, if it has credentials: that begins another session.
    SessionReplaced,
    /// The server broke the protocol.
    Protocol(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Requested => f.write_str("the application closed the connection"),
            Reason::Connect(kind) => kind.fmt(f),
            Reason::Lost(words) => write!(f, "the connection was lost: {words}"),
            Reason::Silent => f.write_str("nothing was heard from the server for too long"),
            Reason::ClosedByServer { code, text } if text.is_empty() => {
                write!(f, "the server closed the connection ({code})")
            }
            Reason::ClosedByServer { code, text } => {
                write!(f, "the server closed the connection: {text} ({code})")
            }
            Reason::GoingAway => f.write_str("the server is going away"),
            Reason::SessionReplaced => f.write_str("another connection has taken up the session"),
            Reason::Protocol(words) => write!(f, "the server broke the protocol: {words}"),
        }
    }
}
