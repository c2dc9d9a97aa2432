//! The Hark client SDK: chat from a Rust program.
//!
//! A [`Client`] is one login on one server. It keeps a connection, makes it again when it is lost, and gives out
//! [`Room`]s, in which one publishes and which one follows. It never says that something was sent before the
//! server has said that it is stored, and never leaves a gap in what it shows without saying so.
//!
//! ```no_run
//! use hark_sdk::{Client, Credentials, RoomEvent, Start, Trust};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("chat.example.org")
//!     .trust(Trust::System)
//!     .credentials(Credentials::password("ann", "correct horse")?)
//!     .connect()
//!     .await?;
//! let room = client.join("tea").await?;
//! let mut events = room.events(Start::Latest(10)).await?;
//! let sent = room.send("hello").await?;
//! println!("stored as {} of {}", sent.seq, room.name());
//! while let Some(item) = events.next().await {
//!     if let RoomEvent::Event(event) = item {
//!         println!("{}: {:?}", event.author_name, event.text());
//!     }
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```

mod address;
mod admin;
mod builder;
mod client;
mod clock;
mod credentials;
mod dial;
mod driver;
mod entropy;
mod error;
mod event;
mod events;
mod export;
mod feed;
mod handle;
mod history;
mod new_room;
mod options;
mod outbox;
mod probe;
mod room;
mod session;
mod status;
mod tls;
mod transport;
mod watch;
pub mod wire;

pub use address::{Address, BadAddress, DEFAULT_PORT};
pub use admin::{Access, Admin};
pub use builder::ClientBuilder;
pub use client::{Client, ClientEvents};
pub use clock::{Clock, SystemClock};
pub use credentials::{Credentials, Password, Token};
pub use entropy::{Entropy, OsEntropy};
pub use error::{
    ConnectError, ConnectErrorKind, Error, HistoryError, HistoryErrorKind, Kind as ErrorKind, Refusal,
    RegisterError, RegisterErrorKind, RequestError, RequestErrorKind, RoomError, RoomErrorKind, SendError,
    SendErrorKind, SubscribeError, SubscribeErrorKind,
};
pub use event::{Change, EndReason, Event, Gap, Origin, Position, RoomEvent, Start};
pub use events::{Begun, Events};
pub use export::{BadExport, SessionExport};
pub use history::{History, HistoryItem, HistoryStream};
pub use new_room::NewRoom;
pub use options::{OFFLINE_QUEUE_DEFAULT, Offline, Reconnect};
pub use outbox::{
    Damaged, OUTBOX_BYTES_DEFAULT, OUTBOX_ENTRIES_DEFAULT, Outbox, OutboxOptions, OutboxProblem, Outcome,
    Pending, Settled, Writing,
};
pub use probe::Probe;
pub use room::{Draft, Permit, Publishing, Room, Sent};
pub use status::{AccountInfo, ClientEvent, ClientState, Reason, ServerInfo};
pub use tls::{BadFingerprint, Fingerprint, TlsProblem, Trust};
pub use transport::{Connector, TcpConnector};
pub use watch::{HeadUpdate, Watch};

/// A room as the server describes it.
pub use hark_protocol::RoomSummary as RoomInfo;
pub use hark_protocol::{
    Account, AccountId, AccountName, AccountRole, BadText, ClientId, DeviceId, Durability, Epoch, ErrorCode,
    GapReason, HistoryPolicy, InviteBody, JoinBody, KickBody, Kind, LimitId, Line, Member, PresenceState,
    Retention, RetentionBody, RoleBody, RoomFilter, RoomId, RoomName, RoomRole, Secret, Seq, SignalKind,
    TopicBody, UnixMillis, Visibility, limits,
};
