//! Whole frames: bytes whose header, length and checksum have been judged, the one encoder, and the enum of
//! everything that a payload can be.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::error_code::ErrorCode;
use crate::header::{CHECKED_BYTES, HEADER_BYTES, Header, MAGIC, VERSION, checksum};
use crate::limits::RECEIVE_FRAME_BYTES_MAX;
use crate::wire::{DecodeError, Payload};
use crate::{Correlation, FrameType};

/// A frame that is not one; the connection it came on can not be trusted any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The first four bytes are not `HARK`.
    #[error("the peer does not speak Hark: a frame begins with {0:02x?}")]
    Magic([u8; 4]),
    /// The header's version is not the one agreed.
    #[error("a frame is of version {0}")]
    Version(u8),
    /// The header announces more than the receiver takes.
    #[error("a frame announces {length} bytes of payload, above the limit of {max}")]
    TooLarge {
        /// What the header announces.
        length: u32,
        /// The receiver's limit.
        max: u32,
    },
    /// The checksum does not fit.
    #[error("a frame's checksum does not fit its bytes")]
    Checksum,
}

impl FrameError {
    /// What the peer is told.
    pub fn code(self) -> ErrorCode {
        match self {
            FrameError::Magic(_) => ErrorCode::BAD_MAGIC,
            FrameError::Version(_) => ErrorCode::BAD_VERSION,
            FrameError::TooLarge { .. } => ErrorCode::FRAME_TOO_LARGE,
            FrameError::Checksum => ErrorCode::BAD_CHECKSUM,
        }
    }
}

/// A whole frame as it came: header, length and checksum are in order, the payload has not been looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFrame {
    header: Header,
    bytes: Bytes,
}

impl RawFrame {
    /// Takes one frame off the front of `input`, or `None` when it is not all there yet.
    ///
    /// The header is judged as soon as it is there: magic, version, then length against `length_max`; nothing
    /// is allocated for a payload that is refused. A client's `length_max` is [`RECEIVE_FRAME_BYTES_MAX`]. The
    /// checksum is judged when the payload is there. After an error `input` is of no use.
    ///
    /// # Errors
    /// [`FrameError`], which ends the connection.
    pub fn take(input: &mut BytesMut, length_max: u32) -> Result<Option<RawFrame>, FrameError> {
        let Some((header, total)) = RawFrame::judge_header(input, length_max)? else { return Ok(None) };
        if input.len() < total {
            input.reserve(total - input.len());
            return Ok(None);
        }
        RawFrame::judge_checksum(header, input.split_to(total).freeze()).map(Some)
    }

    /// How many bytes the frame at the front of `input` has in all, once its header is there and in order.
    ///
    /// # Errors
    /// As [`RawFrame::take`].
    pub fn total_bytes(input: &[u8], length_max: u32) -> Result<Option<usize>, FrameError> {
        Ok(RawFrame::judge_header(input, length_max)?.map(|(_, total)| total))
    }

    fn judge_header(input: &[u8], length_max: u32) -> Result<Option<(Header, usize)>, FrameError> {
        // A stranger is recognised by its first wrong byte, without waiting for twenty of them.
        let start = &input[..input.len().min(MAGIC.len())];
        if start != &MAGIC[..start.len()] {
            let mut found = [0; 4];
            found[..start.len()].copy_from_slice(start);
            return Err(FrameError::Magic(found));
        }
        let Some(header) = Header::read(input) else { return Ok(None) };
        if header.version != VERSION {
            return Err(FrameError::Version(header.version));
        }
        let too_large = FrameError::TooLarge { length: header.length, max: length_max };
        if header.length > length_max {
            return Err(too_large);
        }
        let payload = usize::try_from(header.length).map_err(|_| too_large)?;
        Ok(Some((header, HEADER_BYTES + payload)))
    }

    fn judge_checksum(header: Header, bytes: Bytes) -> Result<RawFrame, FrameError> {
        let (head, rest) = bytes.split_first_chunk::<CHECKED_BYTES>().ok_or(FrameError::Checksum)?;
        match checksum(head, &rest[HEADER_BYTES - CHECKED_BYTES..]) == header.checksum {
            true => Ok(RawFrame { header, bytes }),
            false => Err(FrameError::Checksum),
        }
    }

    /// A frame from storage: the whole of `bytes` must be one frame.
    ///
    /// # Errors
    /// [`FrameError`]: the record is damaged.
    pub fn from_stored(bytes: Bytes) -> Result<RawFrame, FrameError> {
        match RawFrame::judge_header(&bytes, RECEIVE_FRAME_BYTES_MAX)? {
            Some((header, total)) if total == bytes.len() => RawFrame::judge_checksum(header, bytes),
            _ => Err(FrameError::Checksum),
        }
    }

    /// Takes a whole EVENT off the front of the frames that a PAGE encloses.
    pub(crate) fn take_enclosed_event(input: &mut Bytes) -> Result<RawFrame, DecodeError> {
        let broken = |_| DecodeError::BadEnclosedFrame("its header or checksum is wrong");
        let (header, total) = RawFrame::judge_header(input, RECEIVE_FRAME_BYTES_MAX)
            .map_err(broken)?
            .filter(|(_, total)| *total <= input.len())
            .ok_or(DecodeError::BadEnclosedFrame("it is cut short"))?;
        if header.frame_type != FrameType::EVENT {
            return Err(DecodeError::BadEnclosedFrame("it is not an EVENT"));
        }
        RawFrame::judge_checksum(header, input.split_to(total)).map_err(broken)
    }

    /// The frame's header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The payload, a slice of the frame.
    pub fn payload(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Header and payload as they came.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The same bytes as a frame to be sent: what was sealed once may be sent again.
    pub fn into_encoded(self) -> EncodedFrame {
        EncodedFrame(self.bytes)
    }
}

/// A sealed frame: header, payload and checksum that nothing can change any more. Cloning shares the bytes,
/// and is the only way to send a frame to more than one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedFrame(Bytes);

impl EncodedFrame {
    /// Encodes and seals a frame.
    pub fn new<P: Payload>(correlation: Correlation, payload: &P) -> EncodedFrame {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.size());
        encode_into(correlation, payload, &mut bytes);
        EncodedFrame(bytes.into())
    }

    /// The frame's bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The frame's bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }
}

impl std::fmt::Debug for EncodedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let frame_type = Header::read(&self.0).map(|header| header.frame_type);
        write!(f, "EncodedFrame({frame_type:?}, {} bytes)", self.0.len())
    }
}

/// Encodes and seals a frame behind what `out` holds.
pub fn encode_into<P: Payload>(correlation: Correlation, payload: &P, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    payload.put(out);
    let body = start + HEADER_BYTES;
    let length = u32::try_from(out.len() - body).expect("invariant: no payload's fields add up to 4 GiB");
    let mut header = Header {
        magic: MAGIC,
        version: VERSION,
        flags: 0,
        frame_type: P::TYPE,
        correlation,
        length,
        checksum: 0,
    };
    let unsealed = header.to_bytes();
    let head = unsealed.first_chunk().expect("invariant: the header is longer than what the checksum covers");
    header.checksum = checksum(head, &out[body..]);
    out[start..body].copy_from_slice(&header.to_bytes());
}

/// Declares [`Frame`] from the list of payloads, and with it the one place that chooses a decoder by type.
macro_rules! frames {
    ($( $name:ident, )+) => {
        /// A decoded payload of any type.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Frame {
            $(
                #[doc = concat!("See [`", stringify!($name), "`](crate::", stringify!($name), ").")]
                $name(crate::$name),
            )+
        }

        impl Frame {
            /// Decodes a frame's payload by the type in its header.
            ///
            /// # Errors
            /// [`DecodeError`]; an unknown type is [`DecodeError::UnknownType`], which a receiver skips if the
            /// type is ignorable.
            pub fn decode(raw: &RawFrame) -> Result<Frame, DecodeError> {
                match raw.header.frame_type {
                    $( crate::$name::TYPE => crate::$name::decode(raw.payload()).map(Frame::$name), )+
                    unknown => Err(DecodeError::UnknownType(unknown)),
                }
            }

            /// The payload's type code.
            pub fn frame_type(&self) -> FrameType {
                match self {
                    $( Frame::$name(_) => crate::$name::TYPE, )+
                }
            }

            /// Encodes and seals the frame.
            pub fn encode(&self, correlation: Correlation) -> EncodedFrame {
                match self {
                    $( Frame::$name(payload) => EncodedFrame::new(correlation, payload), )+
                }
            }

            /// Encodes and seals the frame behind what `out` holds.
            pub fn encode_into(&self, correlation: Correlation, out: &mut Vec<u8>) {
                match self {
                    $( Frame::$name(payload) => encode_into(correlation, payload, out), )+
                }
            }

            /// Type code and field table of every payload, in the registry's order.
            pub const TABLES: &'static [(FrameType, &'static [crate::wire::Field])] = &[
                $( (crate::$name::TYPE, crate::$name::FIELDS), )+
            ];
        }

        $(
            impl From<crate::$name> for Frame {
                fn from(payload: crate::$name) -> Frame {
                    Frame::$name(payload)
                }
            }
        )+
    };
}

frames! {
    Hello, Welcome, Register, Auth, Authenticated, Resume, Ping, Pong, GoAway, Error, Ok, Cancel, Close,
    RoomCreate, RoomJoin, RoomLeave, RoomInvite, RoomKick, RoomTopic, RoomRoleSet, RoomDirect,
    RoomList, Rooms, RoomGet, Room, RoomMembers, Members, RoomRetention,
    Publish, Published, Subscribe, Subscribed, Unsubscribe, SubscriptionEnded, Event, Replayed, Ack, Head, Gap,
    History, Page,
    Signal, Signalled, PresenceSet, Presence, ProfileSet, Profile,
    AccountAdd, AccountList, Accounts, AccountDisable, AccountPassword,
}
