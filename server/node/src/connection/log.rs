//! SUBSCRIBE, UNSUBSCRIBE, ACK and HISTORY: reading rooms' logs.

use std::sync::Arc;

use hark_core::delivery::{Delivery, Fetch};
use hark_core::ports::{Budget, Cursor, Span, Stored};
use hark_core::room::View;
use hark_core::subscription::{Beginning, Subscription};
use hark_core::{CloseReason, Refusal};
use hark_protocol::{
    AccountId, Ack, Capability, Correlation, Direction, EncodedFrame, EndReason, Epoch, ErrorCode, Frame,
    Frames, From, GapReason, History, Level, LimitId, List, Ok as Done, Page, RoomId, Seq, Subscribe,
    SubscribeItem, Subscribed, SubscriptionEnded, SubscriptionMode, Unsubscribe, Verdict, VerdictItem,
    encode_into,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::Connection;
use crate::hub::Hub;
use crate::link::{Answer, Subscribing};
use crate::room_entry::{Follow, FollowKey, Follower, RoomEntry};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins to follow rooms. What comes behind it waits until they are looked up.
    pub(super) fn subscribe(&mut self, correlation: Correlation, subscribe: Subscribe) {
        let Some(device) = self.identity.as_ref().map(|identity| identity.device) else { return };
        self.is_preparing = true;
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            let mut rooms = Vec::with_capacity(subscribe.rooms.len());
            for item in subscribe.rooms.into_vec() {
                let found = look_up(&hub, device, &item).await;
                rooms.push(Subscribing { item, found });
            }
            link.answer(Answer::Subscribing(correlation, rooms));
        });
    }

    /// Follows the rooms that were looked up. All of this happens in one turn: what a room holds now is what
    /// the verdict says, and everything behind it will be delivered.
    pub(super) fn on_subscribing(&mut self, correlation: Correlation, rooms: Vec<Subscribing>) {
        let verdicts = rooms
            .into_iter()
            .map(|Subscribing { item, found }| {
                self.end_subscription(item.room);
                let begun = found.and_then(|(entry, cursor)| self.begin(&item, &entry, cursor));
                begun.unwrap_or_else(|refusal| refused(item.room, refusal.code()))
            })
            .collect();
        let answer = Frame::Subscribed(Subscribed { rooms: List::truncated(verdicts) });
        self.session.answer(correlation, &answer, self.io.out());
    }

    fn begin(
        &mut self,
        item: &SubscribeItem,
        entry: &Arc<RoomEntry>,
        cursor: Option<Cursor>,
    ) -> Result<VerdictItem, Refusal> {
        let (Some(identity), Some(delivery)) = (&self.identity, &self.delivery) else {
            return Err(Refusal::Unauthenticated);
        };
        let view = entry.look(|room| room.view(identity.account))?;
        let max = self.hub.limits().subscriptions_max;
        if item.mode == SubscriptionMode::DURABLE && identity.device.0 == 0 {
            return Err(Refusal::Forbidden("a login without a device has no durable subscriptions"));
        }
        if delivery.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            return Err(Refusal::Limit { limit: LimitId::SUBSCRIPTIONS, value: max.into() });
        }
        let beginning = Beginning::resolve(item, &view, cursor);
        let verdict = verdict(item.room, &view, beginning)?;
        if let Beginning::Exact { next } | Beginning::Gap { next, .. } = beginning {
            self.follow(item, entry, &view, next);
        }
        Ok(verdict)
    }

    fn follow(&mut self, item: &SubscribeItem, entry: &Arc<RoomEntry>, view: &View, next: Seq) {
        let (Some(identity), Some(delivery)) = (&self.identity, &mut self.delivery) else { return };
        let follower = Follower {
            link: Arc::clone(&self.link),
            account: identity.account,
            takes_signals: self.session.has(Capability::SIGNALS),
            takes_presence: self.session.has(Capability::PRESENCE),
            durable: (item.mode == SubscriptionMode::DURABLE).then_some(identity.device),
            is_hinted: false,
        };
        self.hub.metrics.subscription_began();
        if item.level == Level::HEADS {
            delivery.watch(item.room, entry.follow(follower), view, next);
            return;
        }
        let max = self.hub.limits().window_events_max;
        let window = if item.window == 0 { max } else { item.window.min(max) };
        delivery.insert(item.room, entry.follow(follower), Subscription::new(view, next, window));
    }

    pub(super) fn unsubscribe(&mut self, correlation: Correlation, unsubscribe: &Unsubscribe) {
        unsubscribe.rooms.iter().for_each(|room| self.end_subscription(*room));
        self.session.answer(correlation, &Frame::Ok(Done {}), self.io.out());
    }

    /// Lets go of a subscription that has ended.
    pub(super) fn end_subscription(&mut self, room: RoomId) {
        if let Some(delivery) = &mut self.delivery
            && delivery.end(room)
        {
            self.hub.metrics.subscription_ended();
        }
    }

    /// Another connection of the device follows the room durably now.
    pub(super) fn replaced(&mut self, room: RoomId, key: FollowKey) {
        let Some(delivery) = &self.delivery else { return };
        // The connection may have subscribed anew since the order was given.
        let is_it = delivery.handle(room).is_some_and(|follow| follow.key() == key);
        let Some((epoch, seq)) = delivery.place(room).filter(|_| is_it) else { return };
        let ended = SubscriptionEnded { room, epoch, seq, reason: EndReason::REPLACED };
        encode_into(Correlation::NONE, &ended, self.io.out());
        self.end_subscription(room);
    }

    /// Takes an ACK: credit, and the cursor of a durable subscription.
    pub(super) fn ack(&mut self, ack: &Ack) -> Result<(), CloseReason> {
        let (Some(delivery), Some(identity)) = (&mut self.delivery, &self.identity) else { return Ok(()) };
        if !delivery.on_ack(ack)? {
            return Ok(());
        }
        if delivery.handle(ack.room).is_some_and(Follow::is_durable) {
            let cursor = Cursor { epoch: ack.epoch, seq: ack.seq };
            self.hub.cursors.lock().move_to(identity.device, ack.room, cursor);
        }
        Ok(())
    }

    /// Reads what a subscription needs from the store.
    pub(super) fn fetch(&self, fetch: Fetch) {
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            let read = hub
                .storage
                .read(move |reader| reader.read(fetch.room, Span::From(fetch.from), fetch.budget))
                .await
                .unwrap_or_default(); // tried again at the next recheck
            link.answer(Answer::Fetched(fetch, read));
        });
    }

    /// Keeps the metrics and the deadlines true about how many subscriptions lag.
    pub(super) fn note_lag(&mut self) {
        let lagging = self.delivery.as_ref().map_or(0, Delivery::lagging);
        if lagging != self.lag_told {
            self.hub.metrics.lag_changed(self.lag_told, lagging);
            self.lag_told = lagging;
        }
        let wants_tick = self.delivery.as_ref().is_some_and(Delivery::wants_tick);
        self.deadlines.set_lagging(lagging > 0 || wants_tick, Instant::now());
    }

    /// Tells a peer that lags how far behind it is, and has those looked at again that were told a second ago.
    pub(super) fn tell_heads(&mut self) {
        if let Some(delivery) = &mut self.delivery {
            delivery.tell_heads(self.io.out());
            delivery.tick();
        }
    }
}

async fn look_up(
    hub: &Hub,
    device: hark_protocol::DeviceId,
    item: &SubscribeItem,
) -> Result<(Arc<RoomEntry>, Option<Cursor>), Refusal> {
    if !item.mode.is_known() || !item.level.is_known() || !item.from.is_known() {
        return Err(Refusal::Unsupported("this way to follow a room is unknown"));
    }
    let entry = hub.room(item.room).await?;
    let cursor = match item.from == From::CURSOR && device.0 != 0 {
        true => hub.cursor(device, item.room).await?,
        false => None,
    };
    Ok((entry, cursor))
}

fn verdict(room: RoomId, view: &View, beginning: Beginning) -> Result<VerdictItem, Refusal> {
    let exact = VerdictItem {
        room,
        verdict: Verdict::EXACT,
        epoch: view.epoch,
        first: view.first,
        head: view.head,
        next: Seq::ZERO,
        gap_from: Seq::ZERO,
        gap_to: Seq::ZERO,
        gap_reason: GapReason(0),
        code: ErrorCode(0),
    };
    match beginning {
        Beginning::Exact { next } => Ok(VerdictItem { next, ..exact }),
        Beginning::Gap { from, next, reason } => {
            let (verdict, gap_to) = (Verdict::GAP, next.previous());
            Ok(VerdictItem { verdict, next, gap_from: from, gap_to, gap_reason: reason, ..exact })
        }
        Beginning::Reset => Ok(VerdictItem { verdict: Verdict::RESET, ..exact }),
        Beginning::Unsupported => Err(Refusal::Unsupported("this way to begin is unknown")),
    }
}

fn refused(room: RoomId, code: ErrorCode) -> VerdictItem {
    VerdictItem {
        room,
        verdict: Verdict::REFUSED,
        epoch: Epoch(0),
        first: Seq::ZERO,
        head: Seq::ZERO,
        next: Seq::ZERO,
        gap_from: Seq::ZERO,
        gap_to: Seq::ZERO,
        gap_reason: GapReason(0),
        code,
    }
}

/// Reads one page of a room's log. Membership is looked at in the same moment as the range.
pub(super) async fn read_history(hub: &Hub, account: AccountId, history: History) -> Result<Page, Refusal> {
    let entry = hub.room(history.room).await?;
    let view = entry.look(|room| room.view(account))?;
    read_page(hub, &history, view).await
}

async fn read_page(hub: &Hub, history: &History, view: View) -> Result<Page, Refusal> {
    if history.epoch != Epoch(0) && history.epoch != view.epoch {
        return Err(Refusal::EpochChanged);
    }
    let span = match history.direction {
        Direction::BEFORE if history.seq == Seq::ZERO => Span::Before(view.head.next()),
        Direction::BEFORE => Span::Before(history.seq.min(view.head.next())),
        Direction::AFTER => Span::From(history.seq.next().max(view.first)),
        _ => return Err(Refusal::Unsupported("this direction is unknown")),
    };
    let max = hub.limits().page_events_max;
    let events = usize::from(if history.limit == 0 { max } else { history.limit.min(max) });
    let bytes = usize::try_from(hub.limits().page_bytes_max).unwrap_or(usize::MAX);
    let room = history.room;
    let mut read = match span {
        Span::Before(before) if before <= view.first => Vec::new(),
        span => hub.storage.read(move |reader| reader.read(room, span, Budget { events, bytes })).await?,
    };
    // What was stored after the look, or before the account's own time, is not in this page.
    read.retain(|stored| (view.first..=view.head).contains(&stored.seq()));
    let more = match (history.direction, read.first(), read.last()) {
        (Direction::BEFORE, Some(oldest), _) => oldest.seq() > view.first,
        (_, _, Some(newest)) => newest.seq() < view.head,
        _ => false,
    };
    let frames: Vec<EncodedFrame> = read.into_iter().filter_map(whole).collect();
    Ok(Page {
        room,
        epoch: view.epoch,
        first: view.first,
        head: view.head,
        more,
        events: Frames::new(&frames),
    })
}

/// The event, unless its record is damaged: the hole in the page's seqs says so.
fn whole(stored: Stored) -> Option<EncodedFrame> {
    match stored {
        Stored::Event { frame, .. } => Some(frame),
        Stored::Damaged { .. } => None,
    }
}
