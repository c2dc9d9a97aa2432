//! The pen: what one turn of one subscription writes, from the room's tail or from what the store has read.

use bytes::Bytes;
use hark_protocol::{
    AccountId, Correlation, EncodedFrame, EndReason, Event, Gap, GapReason, KickBody, Kind, Payload,
    RawFrame, Replayed, RoomId, Seq, Wire, encode_into,
};

use crate::delivery::RoomHandle;
use crate::ports::Stored;
use crate::room::Room;
use crate::subscription::Subscription;
use crate::tail::Removal;

/// How a turn of one subscription went.
pub(crate) enum Turn {
    /// It has caught up.
    Quiet,
    /// It is out of credit, and its room has more.
    Starved,
    /// There is more to write.
    More,
    /// It needs the store.
    Fetch,
    /// The account was removed.
    Ended(EndReason),
}

/// What one turn of one subscription writes with: for whom, how much, and where.
pub(crate) struct Pen<'a> {
    pub(crate) room: RoomId,
    pub(crate) account: AccountId,
    /// Events that credit and the turn allow.
    pub(crate) events_max: u64,
    /// Nothing more is begun once `out` holds so much.
    pub(crate) bytes_max: usize,
    pub(crate) out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    /// Writes events from the room's tail. `Err` where the subscription ends.
    pub(crate) fn write_tail(
        &mut self,
        room: &Room,
        subscription: &mut Subscription,
    ) -> Result<Turn, EndReason> {
        let row = room.row();
        if subscription.next() < row.first && subscription.next() <= row.head {
            self.write_gap(room, subscription, row.first.previous(), GapReason::RETENTION)?;
        }
        if subscription.next() > row.head {
            return Ok(Turn::Quiet);
        }
        if self.events_max == 0 {
            return Ok(Turn::Starved);
        }
        let Some(events) = room.tail().from(subscription.next()) else { return Ok(Turn::Fetch) };
        for (_, event) in events.take(self.events()) {
            self.write_event(&event.frame, event.removes, subscription)?;
            if self.out.len() >= self.bytes_max {
                break;
            }
        }
        Ok(if subscription.next() <= row.head { Turn::More } else { Turn::Quiet })
    }

    /// Writes events that were read from the store. `Err` where the subscription ends.
    pub(crate) fn write_stored<H: RoomHandle>(
        &mut self,
        handle: &H,
        subscription: &mut Subscription,
    ) -> Result<Turn, EndReason> {
        if self.events_max == 0 {
            return Ok(Turn::Starved);
        }
        for _ in 0..self.events() {
            let Some(stored) = subscription.take_stored() else { break };
            let missing = stored.seq().previous();
            if subscription.next() <= missing {
                handle.with(|room| self.write_gap(room, subscription, missing, GapReason::RETENTION))?;
            }
            match stored {
                Stored::Event { frame, .. } => self.write_event(&frame, removal(&frame), subscription)?,
                Stored::Damaged { seq } => {
                    handle.with(|room| self.write_gap(room, subscription, seq, GapReason::DAMAGED))?;
                }
            }
            if self.out.len() >= self.bytes_max {
                break;
            }
        }
        Ok(Turn::More)
    }

    fn events(&self) -> usize {
        usize::try_from(self.events_max).unwrap_or(usize::MAX)
    }

    fn write_event(
        &mut self,
        frame: &EncodedFrame,
        removes: Option<Removal>,
        subscription: &mut Subscription,
    ) -> Result<(), EndReason> {
        let seq = subscription.next();
        self.out.extend_from_slice(frame.as_slice());
        subscription.on_sent();
        match removes {
            Some(removal) if removal.account == self.account && seq > subscription.joined() => {
                Err(removal.reason)
            }
            _ => {
                self.write_replayed(subscription);
                Ok(())
            }
        }
    }

    fn write_gap(
        &mut self,
        room: &Room,
        subscription: &mut Subscription,
        to: Seq,
        reason: GapReason,
    ) -> Result<(), EndReason> {
        let (epoch, from) = (subscription.epoch(), subscription.next());
        encode_into(Correlation::NONE, &Gap { room: self.room, epoch, from, to, reason }, self.out);
        subscription.on_gap(to);
        // The event that removes the account may be what is missing: then the room knows more than its log.
        if room.member(self.account).is_none_or(|member| member.joined != subscription.joined()) {
            return Err(EndReason::KICKED);
        }
        self.write_replayed(subscription);
        Ok(())
    }

    /// Writes REPLAYED where the replay ends, and nowhere else.
    pub(crate) fn write_replayed(&mut self, subscription: &mut Subscription) {
        if let Some(seq) = subscription.take_replayed() {
            let mark = Replayed { room: self.room, epoch: subscription.epoch(), seq };
            encode_into(Correlation::NONE, &mark, self.out);
        }
    }
}

/// Whom a stored event removes from its room.
fn removal(frame: &EncodedFrame) -> Option<Removal> {
    let event = decode_event(frame.to_bytes())?;
    match event.kind {
        Kind::LEAVE => Some(Removal { account: event.author, reason: EndReason::LEFT }),
        Kind::KICK => {
            let body = KickBody::take(&mut hark_protocol::Reader::new(event.body.into_bytes())).ok()?;
            Some(Removal { account: body.account, reason: EndReason::KICKED })
        }
        _ => None,
    }
}

fn decode_event(bytes: Bytes) -> Option<Event> {
    Event::decode(RawFrame::from_stored(bytes).ok()?.payload()).ok()
}
