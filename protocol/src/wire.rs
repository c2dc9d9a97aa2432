//! How values stand in a payload: the bounded reader, the trait that every field type implements, and the
//! `record!` and `payload!` declarations that turn one list of fields into struct, encoder and decoder.

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::{ErrorCode, FrameType};

/// A value with one layout on the wire.
pub trait Wire: Sized {
    /// The specification's name of this layout.
    const NAME: &'static str;
    /// Encoded length in bytes.
    fn size(&self) -> usize;
    /// Appends the encoding to `out`.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes one value off the front of `reader`; on an error the reader's place is unspecified.
    fn take(reader: &mut Reader) -> Result<Self, DecodeError>;
}

/// A frame's payload: fixed fields in order, then zero or more extension records.
pub trait Payload: Wire {
    /// The type code that the header carries.
    const TYPE: FrameType;
    /// The fields in wire order, as the specification's table lists them.
    const FIELDS: &'static [Field];

    /// Decodes a whole payload: the fields, then extension records, then nothing.
    ///
    /// # Errors
    /// Everything in [`DecodeError`]; the peer is told [`ErrorCode`] MALFORMED or UNSUPPORTED.
    fn decode(payload: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let value = Self::take(&mut reader)?;
        reader.finish(Self::TYPE)?;
        Ok(value)
    }
}

/// One row of a payload's field table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// The specification's name of its layout, [`Wire::NAME`].
    pub wire: &'static str,
}

/// Why a payload could not be read. One variant for each check.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The payload ends inside a field.
    #[error("the payload ends {missing} bytes before the end of a field")]
    Short {
        /// How many more bytes the field needs.
        missing: usize,
    },
    /// A text is not UTF-8.
    #[error("a text field is not valid UTF-8")]
    NotUtf8,
    /// A text is UTF-8 but breaks the rules of its kind.
    #[error("a text field is not acceptable: {0}")]
    BadText(#[from] crate::text::BadText),
    /// A length or a count is above what the field may hold.
    #[error("a field holds {found}, above its maximum of {max}")]
    AboveMaximum {
        /// What the peer sent.
        found: usize,
        /// The field's maximum.
        max: usize,
    },
    /// A flag is neither 0 nor 1.
    #[error("a flag is {0}, neither 0 nor 1")]
    BadFlag(u8),
    /// A client id is all zeros.
    #[error("a client id is all zeros")]
    ZeroClientId,
    /// A whole frame inside a payload failed its own checks.
    #[error("an enclosed frame is broken: {0}")]
    BadEnclosedFrame(&'static str),
    /// The bytes after the last field are not whole extension records.
    #[error("{0} trailing bytes are not an extension record")]
    TrailingBytes(usize),
    /// An extension record of unknown tag says that it must be understood.
    #[error("extension {0:#06x} is critical and unknown")]
    UnknownCriticalExtension(u16),
    /// The type code names no payload of this version.
    #[error("frame type {0} is unknown")]
    UnknownType(FrameType),
}

impl DecodeError {
    /// What the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            DecodeError::UnknownType(_) => ErrorCode::UNKNOWN_TYPE,
            DecodeError::UnknownCriticalExtension(_) => ErrorCode::UNSUPPORTED,
            DecodeError::Short { .. }
            | DecodeError::NotUtf8
            | DecodeError::BadText(_)
            | DecodeError::AboveMaximum { .. }
            | DecodeError::BadFlag(_)
            | DecodeError::ZeroClientId
            | DecodeError::BadEnclosedFrame(_)
            | DecodeError::TrailingBytes(_) => ErrorCode::MALFORMED,
        }
    }
}

/// A cursor over one payload that can neither read past it nor allocate from a peer's count.
#[derive(Debug)]
pub struct Reader {
    rest: Bytes,
}

/// Bit 15 of an extension tag or a type code: skip it when unknown.
pub(crate) const IGNORABLE: u16 = 0x8000;

impl Reader {
    /// A reader over `payload`. What it hands out are slices of the same buffer.
    pub fn new(payload: Bytes) -> Reader {
        Reader { rest: payload }
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes `count` bytes without copying them.
    pub fn bytes(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        self.need(count)?;
        Ok(self.rest.split_to(count))
    }

    /// Takes a fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut array = [0; N];
        self.rest.copy_to_slice(&mut array);
        Ok(array)
    }

    fn need(&self, count: usize) -> Result<(), DecodeError> {
        match count.checked_sub(self.rest.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Short { missing }),
        }
    }

    /// Reads extension records up to the end. This version assigns none, so an ignorable one is skipped and a
    /// critical one refused; in an EVENT every one is ignorable, because a stored record must stay readable.
    fn finish(mut self, frame_type: FrameType) -> Result<(), DecodeError> {
        let mut critical = None;
        while self.remaining() > 0 {
            let trailing = self.remaining();
            let record = self.extension().map_err(|_| DecodeError::TrailingBytes(trailing))?;
            if record & IGNORABLE == 0 && frame_type != FrameType::EVENT {
                critical.get_or_insert(record);
            }
        }
        critical.map_or(Ok(()), |tag| Err(DecodeError::UnknownCriticalExtension(tag)))
    }

    fn extension(&mut self) -> Result<u16, DecodeError> {
        let tag = u16::take(self)?;
        let length = u16::take(self)?;
        self.bytes(usize::from(length))?;
        Ok(tag)
    }
}

/// Implements [`Wire`] for an integer: big-endian, fixed width.
macro_rules! integer {
    ($int:ty) => {
        impl Wire for $int {
            const NAME: &'static str = stringify!($int);
            fn size(&self) -> usize {
                size_of::<$int>()
            }
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
            fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
                reader.array().map(<$int>::from_be_bytes)
            }
        }
    };
}

integer!(u8);
integer!(u16);
integer!(u32);
integer!(u64);

impl Wire for bool {
    const NAME: &'static str = "flag";
    fn size(&self) -> usize {
        1
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::take(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::BadFlag(other)),
        }
    }
}

/// Declares a struct whose fields, in this order, are its encoding.
macro_rules! record {
    (
        $(#[$doc:meta])*
        pub struct $name:ident as $wire:literal {
            $( $(#[$fdoc:meta])* pub $field:ident: $type:ty, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $type, )*
        }

        impl $name {
            /// The fields in wire order, as the specification's table lists them.
            pub const FIELDS: &'static [$crate::wire::Field] = &[
                $( $crate::wire::Field { name: stringify!($field), wire: <$type as $crate::wire::Wire>::NAME }, )*
            ];
        }

        impl $crate::wire::Wire for $name {
            const NAME: &'static str = $wire;
            fn size(&self) -> usize {
                0 $( + $crate::wire::Wire::size(&self.$field) )*
            }
            #[allow(unused_variables, reason = "a payload without fields writes nothing")]
            fn put(&self, out: &mut Vec<u8>) {
                $( $crate::wire::Wire::put(&self.$field, out); )*
            }
            #[allow(unused_variables, reason = "a payload without fields reads nothing")]
            fn take(reader: &mut $crate::wire::Reader) -> Result<Self, $crate::wire::DecodeError> {
                Ok($name { $( $field: $crate::wire::Wire::take(reader)?, )* })
            }
        }
    };
}

/// Declares a frame's payload: a [`record!`] with a type code.
macro_rules! payload {
    (
        $(#[$doc:meta])*
        pub struct $name:ident: $code:ident {
            $( $(#[$fdoc:meta])* pub $field:ident: $type:ty, )*
        }
    ) => {
        $crate::wire::record! {
            $(#[$doc])*
            pub struct $name as "payload" {
                $( $(#[$fdoc])* pub $field: $type, )*
            }
        }

        impl $crate::wire::Payload for $name {
            const TYPE: $crate::FrameType = $crate::FrameType::$code;
            const FIELDS: &'static [$crate::wire::Field] = $name::FIELDS;
        }
    };
}

pub(crate) use {payload, record};

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(bytes: &'static [u8], frame_type: FrameType) -> Result<(), DecodeError> {
        Reader::new(Bytes::from_static(bytes)).finish(frame_type)
    }

    #[test]
    fn a_reader_never_reads_past_its_payload() {
        let mut reader = Reader::new(Bytes::from_static(&[1, 2, 3]));
        assert_eq!(u16::take(&mut reader), Ok(0x0102));
        assert_eq!(u32::take(&mut reader), Err(DecodeError::Short { missing: 3 }));
        assert_eq!(reader.bytes(usize::MAX), Err(DecodeError::Short { missing: usize::MAX - 1 }));
    }

    #[test]
    fn extensions_are_skipped_or_refused_by_their_bit() {
        let cases: [(&'static [u8], FrameType, Result<(), DecodeError>); 6] = [
            (&[], FrameType::PING, Ok(())),
            (&[0x80, 1, 0, 1, 9], FrameType::PING, Ok(())),
            (&[0, 1, 0, 0], FrameType::PING, Err(DecodeError::UnknownCriticalExtension(1))),
            (&[0, 1, 0, 0], FrameType::EVENT, Ok(())),
            (&[0x80, 1, 0, 2, 9], FrameType::PING, Err(DecodeError::TrailingBytes(5))),
            (&[0, 1, 0, 0, 7], FrameType::PING, Err(DecodeError::TrailingBytes(1))),
        ];
        for (bytes, frame_type, expected) in cases {
            assert_eq!(finish(bytes, frame_type), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_flag_is_zero_or_one() {
        let take = |byte| bool::take(&mut Reader::new(Bytes::copy_from_slice(&[byte])));
        assert_eq!((take(0), take(1), take(2)), (Ok(false), Ok(true), Err(DecodeError::BadFlag(2))));
    }
}
