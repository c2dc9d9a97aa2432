//! How much may be on its way at once: the server's limits and the client's own.

use hark_protocol::limits::{BODY_OVERHEAD_BYTES, FRAME_BYTES_DEFAULT};
use hark_protocol::{LimitId, Publish, Welcome};

use crate::session::Failure;

/// Bounds for one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Requests without an answer, one place for a heartbeat left out.
    pub(super) requests_max: usize,
    /// Of these, requests whose order matters; the others stay open for reads.
    pub(super) ordered_max: usize,
    /// Body bytes of unanswered publishes; a single one may be more.
    pub(super) bytes_max: usize,
    /// Unacknowledged events of one room.
    pub(super) window: u32,
    /// Unacknowledged events of all rooms.
    pub(super) connection_window: u64,
    /// Rooms in one SUBSCRIBE.
    pub(super) subscribe_rooms_max: usize,
    body_bytes_max: u64,
    /// Payload bytes of a frame: the server ends the connection that brings more.
    frame_bytes_max: u64,
}

impl Flow {
    /// What holds before a server has said anything.
    pub(super) fn new(window: u32) -> Flow {
        Flow {
            requests_max: REQUESTS_MAX,
            ordered_max: REQUESTS_MAX,
            bytes_max: BYTES_MAX,
            window,
            connection_window: u64::MAX,
            subscribe_rooms_max: hark_protocol::limits::SUBSCRIBE_ROOMS_MAX,
            body_bytes_max: u64::MAX,
            frame_bytes_max: u64::MAX,
        }
    }

    /// What holds with a server that has said `welcome`.
    pub(super) fn advertised(window: u32, welcome: &Welcome) -> Flow {
        let own = Flow::new(window);
        let at_most = |id, own: usize| {
            let theirs = welcome.limit(id).and_then(|value| usize::try_from(value).ok());
            theirs.unwrap_or(own).clamp(1, own.max(1))
        };
        let frame_bytes = welcome.limit(LimitId::FRAME_BYTES).unwrap_or(u64::from(FRAME_BYTES_DEFAULT));
        let frame_body_bytes = frame_bytes.saturating_sub(u64::from(BODY_OVERHEAD_BYTES));
        let requests_max = at_most(LimitId::REQUESTS_IN_FLIGHT, REQUESTS_MAX + 1).saturating_sub(1).max(1);
        Flow {
            requests_max,
            ordered_max: (requests_max - requests_max / 4).max(1),
            window: u32::try_from(welcome.limit(LimitId::WINDOW).unwrap_or(u64::MAX))
                .unwrap_or(u32::MAX)
                .clamp(1, window),
            connection_window: welcome.limit(LimitId::CONNECTION_WINDOW).unwrap_or(u64::MAX).max(1),
            subscribe_rooms_max: at_most(LimitId::SUBSCRIBE_ROOMS, own.subscribe_rooms_max),
            body_bytes_max: welcome.limit(LimitId::BODY_BYTES).unwrap_or(u64::MAX).min(frame_body_bytes),
            frame_bytes_max: frame_bytes,
            ..own
        }
    }

    /// What is wrong with a publish that is larger than the server takes.
    pub(super) fn too_large(&self, publish: &Publish) -> Option<Failure> {
        let (size, max) = (publish.body.len(), self.body_bytes_max);
        (size as u64 > max).then_some(Failure::TooLarge { size, max })
    }

    /// Whether a publish can be sent at all: one that is larger than the server takes is refused, or found to be
    /// stored already; one that is larger than a frame costs the connection.
    pub(super) fn fits_a_frame(&self, publish: &Publish) -> bool {
        publish.body.len() as u64 + PUBLISH_OVERHEAD_BYTES <= self.frame_bytes_max
    }

    /// Items that may wait for the application in one feed: one and a half windows of events, because a feed is
    /// followed on after a reconnect when half a window is left of it, and some marks.
    pub(super) fn items_max(&self, window: u32) -> u64 {
        u64::from(window) + u64::from(window / 2) + MARKS_MAX
    }
}

/// What PUBLISH adds to its body: room, client id, kind, flag and length.
const PUBLISH_OVERHEAD_BYTES: u64 = 8 + 16 + 2 + 1 + 4;

/// Requests in flight unless the server allows fewer: enough to fill a group commit on a slow line.
const REQUESTS_MAX: usize = 256;

/// Bytes of bodies in flight.
const BYTES_MAX: usize = 1 << 20;

/// GAP, REPLAYED, HEAD and signals that may wait in a feed beside its events.
pub(super) const MARKS_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use hark_protocol::{Blob, ClientId, Correlation, Frame, Kind, RoomId};

    use super::*;

    #[test]
    fn a_publish_fits_exactly_as_long_as_its_payload_does() {
        let publish = Publish {
            room: RoomId(1),
            client_id: ClientId::new([1; 16]).unwrap(),
            kind: Kind::MESSAGE,
            abandon: false,
            body: Blob::new(vec![7; 1000]).unwrap(),
        };
        let sealed = Frame::Publish(publish.clone()).encode(Correlation(1));
        let payload = (sealed.as_slice().len() - hark_protocol::header::HEADER_BYTES) as u64;
        let flow = |frame_bytes_max| Flow { frame_bytes_max, ..Flow::new(1) };
        assert!(flow(payload).fits_a_frame(&publish) && !flow(payload - 1).fits_a_frame(&publish));
    }
}
