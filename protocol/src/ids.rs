//! The numbers that name things: each a type of its own, so that a seq can never be passed for a room.

use std::fmt;

use binrw::{BinRead, BinWrite};

use crate::wire::{DecodeError, Reader, Wire};

/// Declares a newtype over an integer that stands on the wire as that integer.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty) as $wire:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Wire for $name {
            const NAME: &'static str = $wire;
            fn size(&self) -> usize {
                size_of::<$inner>()
            }
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
                <$inner>::take(reader).map($name)
            }
        }
    };
}

id! {
    /// A room, for ever: never reused.
    RoomId(u64) as "room id"
}
id! {
    /// An account, for ever: never reused.
    AccountId(u64) as "account id"
}
id! {
    /// A device: a login that lasts. 0 is a login that ends with its connection.
    DeviceId(u64) as "device id"
}
id! {
    /// A position in one room's log, dense from 1. 0 stands before the first event.
    Seq(u64) as "seq"
}
id! {
    /// Which incarnation of a room's log a seq belongs to. 0 means "not known" where a client may say so.
    Epoch(u64) as "epoch"
}
id! {
    /// Milliseconds since 1970-01-01T00:00:00Z, on the server's clock.
    UnixMillis(u64) as "time"
}

impl Seq {
    /// The position before a log's first event.
    pub const ZERO: Seq = Seq(0);

    /// The seq after this one; the last possible seq is its own successor.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// The seq before this one; [`Seq::ZERO`] is its own predecessor.
    #[must_use]
    pub fn previous(self) -> Seq {
        Seq(self.0.saturating_sub(1))
    }
}

/// Ties a final answer to its request. 0 belongs to frames that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BinRead, BinWrite)]
#[brw(big)]
pub struct Correlation(pub u32);

impl Correlation {
    /// The correlation of a frame that answers nothing.
    pub const NONE: Correlation = Correlation(0);
}

impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Wire for Correlation {
    const NAME: &'static str = "correlation";
    fn size(&self) -> usize {
        4
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        u32::take(reader).map(Correlation)
    }
}

/// The sixteen bytes by which an author names a publish for as long as it exists. UUIDv7 is recommended,
/// because ids that grow with time are cheaper to index. All zeros is not a client id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// The id with these bytes; `None` for sixteen zeros.
    pub fn new(bytes: [u8; 16]) -> Option<ClientId> {
        (bytes != [0; 16]).then_some(ClientId(bytes))
    }

    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({self})")
    }
}

impl Wire for ClientId {
    const NAME: &'static str = "client id";
    fn size(&self) -> usize {
        16
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        ClientId::new(reader.array()?).ok_or(DecodeError::ZeroClientId)
    }
}
