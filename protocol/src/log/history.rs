//! HISTORY and PAGE: reading stored events, which come as the sealed frames that they are.

use bytes::Bytes;

use crate::bounded::{check, put_length_u32};
use crate::frame::{EncodedFrame, RawFrame};
use crate::limits::RECEIVE_FRAME_BYTES_MAX;
use crate::open::open_enum;
use crate::wire::{DecodeError, Reader, Wire, payload};
use crate::{Epoch, RoomId, Seq};

open_enum! {
    /// Which way a page lies from its position.
    pub struct Direction(u8) as "direction" {
        /// The newest events before `seq`; `seq` 0 = the newest of all.
        BEFORE = 1 "before",
        /// The oldest events after `seq`; `seq` 0 = the oldest of all.
        AFTER = 2 "after",
    }
}

payload! {
    /// Asks for stored events. Answered by PAGE.
    pub struct History: HISTORY {
        /// The room.
        pub room: RoomId,
        /// Which way to read.
        pub direction: Direction,
        /// The epoch of the seq; 0 = not known, and not compared.
        pub epoch: Epoch,
        /// The position, which is not itself in the page.
        pub seq: Seq,
        /// How many events at most; 0 = the server's maximum.
        pub limit: u16,
    }
}

payload! {
    /// A page of events in ascending order, whichever way it was asked for.
    pub struct Page: PAGE {
        /// The room.
        pub room: RoomId,
        /// Which incarnation of its log.
        pub epoch: Epoch,
        /// The oldest seq that this account can read.
        pub first: Seq,
        /// The newest seq.
        pub head: Seq,
        /// Whether there is more in the same direction.
        pub more: bool,
        /// The events.
        pub events: Frames,
    }
}

/// Whole EVENT frames one behind another, as they are stored. Reading checks each one's header, length and
/// checksum, so what a `Frames` holds is known to be whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(Bytes);

impl Frames {
    /// The frames that `frames` are, in order.
    pub fn new<'a>(frames: impl IntoIterator<Item = &'a EncodedFrame>) -> Frames {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(frame.as_slice());
        }
        Frames(bytes.into())
    }

    /// The frames, each a slice of the same buffer.
    pub fn iter(&self) -> impl Iterator<Item = RawFrame> + use<> {
        let mut rest = self.0.clone();
        std::iter::from_fn(move || RawFrame::take_enclosed_event(&mut rest).ok())
    }
}

impl Wire for Frames {
    const NAME: &'static str = "frames";
    fn size(&self) -> usize {
        4 + self.0.len()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_length_u32(self.0.len(), out);
        out.extend_from_slice(&self.0);
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        let length = usize::try_from(u32::take(reader)?).unwrap_or(usize::MAX);
        check(length, usize::try_from(RECEIVE_FRAME_BYTES_MAX).unwrap_or(usize::MAX))?;
        let bytes = reader.bytes(length)?;
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            RawFrame::take_enclosed_event(&mut rest)?;
        }
        Ok(Frames(bytes))
    }
}
