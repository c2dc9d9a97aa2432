//! Bytes to values and back: the Hark wire protocol, with no I/O, no async runtime and no clock.
//!
//! A frame is a 20-byte [`Header`] and a payload. Bytes from a peer become a [`RawFrame`] once its length and
//! checksum have been judged, and a [`Frame`] once its payload has been parsed. Bytes for a peer come out of
//! [`EncodedFrame::new`] or [`encode_into`], and from nowhere else.
//!
//! Every payload is declared once, with [`payload!`](crate::wire): that one list is the struct, the order of
//! encoding, the order of decoding and the row list that the specification's tables are checked against.
//!
//! ```
//! use hark_protocol::{Correlation, EncodedFrame, Frame, Ping, RawFrame, limits};
//!
//! let ping = Ping { data: "hello".parse()? };
//! let sealed = EncodedFrame::new(Correlation(7), &ping);
//! let mut input = bytes::BytesMut::from(sealed.as_slice());
//! let raw = RawFrame::take(&mut input, limits::FRAME_BYTES_DEFAULT)?.expect("a whole frame");
//! assert_eq!(raw.header().correlation, Correlation(7));
//! assert_eq!(Frame::decode(&raw)?, Frame::Ping(ping));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod header;
pub mod frame;
pub mod frame_type;
pub mod wire;
pub mod open;
pub mod ids;
pub mod text;
pub mod bounded;
pub mod kind;
pub mod error_code;
pub mod capability;
pub mod limits;
pub mod connection;
pub mod rooms;
pub mod log;
pub mod ephemeral;
pub mod admin;
#[cfg(feature = "codec")]
pub mod codec;

pub use admin::*;
pub use bounded::{Blob, List, OutOfBounds};
pub use capability::Capability;
pub use connection::*;
pub use ephemeral::*;
pub use error_code::{ErrorCode, Scope};
pub use frame::{EncodedFrame, Frame, FrameError, RawFrame, encode_into};
pub use frame_type::FrameType;
pub use header::{HEADER_BYTES, Header, MAGIC, VERSION};
pub use ids::*;
pub use kind::{InviteBody, JoinBody, KickBody, Kind, RetentionBody, RoleBody, TopicBody};
pub use limits::LimitId;
pub use log::*;
pub use rooms::*;
pub use text::{AccountName, BadText, Line, RoomName, Secret};
pub use wire::{DecodeError, Payload, Reader, Wire};
