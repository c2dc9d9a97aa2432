//! One connection: the task that owns the socket, the conversation and the subscriptions of one peer.
//!
//! Each turn of [`Connection::run`] takes what others have left at the link, carries out what the peer has
//! sent, writes what its rooms have for it, and then waits for the first thing to happen. Whatever needs the
//! disk or a password's hash is done elsewhere and comes back through the link.

mod account;
mod answer;
mod calls;
mod change;
mod deadlines;
mod ephemeral;
mod io;
mod lists;
mod log;
mod login;
mod publish;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hark_core::delivery::Delivery;
use hark_core::outstanding::Progress;
use hark_core::session::{Session, Step};
use hark_core::{CloseReason, Refusal};
use hark_protocol::{
    Blob, Correlation, Disposition, ErrorCode, Frame, FrameType, GoAway, HEADER_BYTES, Header, Line, List,
    Ping, RoomId, Seq, encode_into,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use self::calls::Calls;
use self::deadlines::{Deadlines, Due, Stage};
use self::io::{Io, Wake, Wanted};
use crate::admission::Admission;
use crate::hub::{ConnectionId, Hub};
use crate::link::{Identity, Inbox, Link, Order};
use crate::room_entry::Follow;
use crate::seat::Seat;
use crate::writer::Job;

/// Bytes gathered for one write. Past it nothing more is written or read until the peer has taken some.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// How long the last frames may take to be written, and then the end of the transport.
const END_PATIENCE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(1));

/// The same for a connection whose session another one has taken up: whatever the peer does, it is gone within a
/// second.
const REPLACED_PATIENCE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(200));

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    hub: Arc<Hub>,
    id: ConnectionId,
    address: IpAddr,
    link: Arc<Link>,
    io: Io<S>,
    session: Session,
    deadlines: Deadlines,
    admission: Admission,
    /// Who the peer is, once it has said so.
    identity: Option<Identity>,
    /// Its place among its account's connections.
    seat: Option<Seat>,
    /// Why it will end as soon as its login is answered.
    doomed: Option<CloseReason>,
    delivery: Option<Delivery<Follow>>,
    /// A request is being looked up whose place among the others matters: what comes behind it waits unread.
    is_preparing: bool,
    /// Requests that need the stores.
    calls: Calls,
    /// A room is being made or joined: what comes behind it may need that, and waits unread.
    entering: Option<Correlation>,
    /// A request that the writer had no room for.
    held: Option<Job>,
    /// A publish that came too fast is carried out then; what comes behind it waits unread.
    paused: Option<(Instant, Job)>,
    /// Lagging subscriptions, as far as the metrics know.
    lag_told: usize,
    /// Whether the metrics know that the peer is suspected of being gone.
    is_suspect_told: bool,
    ending: Ending,
    finish_patience: Duration,
}

/// Whether the connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It is not.
    No,
    /// What has begun is finished first.
    Draining,
    /// The last frames have been written.
    Closed,
}

/// What a connection begins with.
pub(crate) struct Accepted<S> {
    pub(crate) stream: S,
    pub(crate) id: ConnectionId,
    pub(crate) address: IpAddr,
    pub(crate) at: Instant,
    pub(crate) admission: Admission,
    pub(crate) link: Arc<Link>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(hub: Arc<Hub>, accepted: Accepted<S>) -> Connection<S> {
        Connection {
            session: Session::new(hub.session.clone()),
            hub,
            id: accepted.id,
            address: accepted.address,
            link: accepted.link,
            io: Io::new(accepted.stream),
            deadlines: Deadlines::new(accepted.at, Instant::now()),
            admission: accepted.admission,
            identity: None,
            seat: None,
            doomed: None,
            delivery: None,
            is_preparing: false,
            calls: Calls::default(),
            entering: None,
            held: None,
            paused: None,
            lag_told: 0,
            is_suspect_told: false,
            ending: Ending::No,
            finish_patience: END_PATIENCE.1,
        }
    }

    /// Serves the peer until one side ends it.
    pub(crate) async fn run(mut self) {
        while let Some(wake) = self.turn().await {
            if let Err(reason) = self.on_wake(wake) {
                self.close(Some(&reason));
            }
        }
        self.io.finish(self.finish_patience).await;
    }

    /// Tells the peer why it is not served, and ends.
    pub(crate) async fn refuse(mut self, reason: CloseReason) {
        self.close(Some(&reason));
        while let Some(wake) = self.turn().await {
            if matches!(wake, Wake::Failed(_) | Wake::Deadline) {
                break;
            }
        }
        self.io.finish(self.finish_patience).await;
    }

    /// Does everything that can be done now, and waits. `None` when there is nothing left to wait for.
    async fn turn(&mut self) -> Option<Wake> {
        if let Err(reason) = self.work() {
            self.close(Some(&reason));
        }
        self.count_frames();
        self.note_suspicion();
        let now = Instant::now();
        self.deadlines.set_unsent(self.io.unsent() > 0, false, now);
        if self.ending == Ending::Closed && self.io.is_flushed() {
            return None;
        }
        let read = self.wants_frames();
        self.deadlines.set_reading(read, now);
        self.deadlines.set_partial(read && self.io.has_partial(), now);
        let paused = self.paused.as_ref().map(|(at, _)| *at);
        let deadline = self.deadlines.next(self.stage(), read, self.hub.limits());
        let wanted = Wanted { read, deadline: paused.map_or(deadline, |at| at.min(deadline)) };
        Some(self.io.next(&self.link, wanted).await)
    }

    /// Carries out what was left, what was read and what the rooms have, in this order.
    fn work(&mut self) -> Result<(), CloseReason> {
        if self.ending == Ending::Closed {
            drop(self.link.take()); // what is left there is for nobody, but it must not wake again and again
            return Ok(());
        }
        let inbox = self.link.take();
        self.take_inbox(inbox)?;
        self.take_frames()?;
        self.start_calls()?;
        self.write_events();
        self.write_pongs();
        if self.ending == Ending::Draining && self.is_settled() {
            self.close(None);
        }
        Ok(())
    }

    fn take_inbox(&mut self, inbox: Inbox) -> Result<(), CloseReason> {
        for order in inbox.orders {
            self.on_order(order)?;
        }
        for answer in inbox.answers {
            self.on_answer(answer)?;
        }
        if let Some(delivery) = &mut self.delivery {
            inbox.hints.into_iter().for_each(|room| delivery.hint(room));
        }
        if self.io.unsent() < OUT_BYTES_MAX {
            for whisper in inbox.whispers {
                self.io.out().extend_from_slice(whisper.as_slice());
            }
        }
        Ok(())
    }

    fn take_frames(&mut self) -> Result<(), CloseReason> {
        while self.wants_frames() {
            let Some(raw) = self.io.take_frame(self.session.frame_bytes_max())? else { break };
            self.deadlines.on_frame();
            self.hub.metrics.frame_received(raw.header().frame_type, HEADER_BYTES + raw.payload().len());
            match self.session.on_frame(&raw, self.hub.now_ns(), self.io.out())? {
                Step::Done => {}
                Step::Request(correlation, frame) => self.on_request(correlation, frame)?,
                Step::Notice(frame) => self.on_notice(frame)?,
                Step::Leave(disposition) => self.on_leave(disposition),
            }
        }
        Ok(())
    }

    /// Carries out a request, or begins to.
    fn on_request(&mut self, correlation: Correlation, frame: Frame) -> Result<(), CloseReason> {
        match frame {
            Frame::Publish(publish) => self.publish(correlation, publish),
            Frame::Subscribe(subscribe) => self.subscribe(correlation, subscribe),
            Frame::Unsubscribe(unsubscribe) => self.unsubscribe(correlation, &unsubscribe),
            Frame::RoomCreate(_) | Frame::RoomDirect(_) => self.create(correlation, frame),
            Frame::RoomJoin(_)
            | Frame::RoomLeave(_)
            | Frame::RoomInvite(_)
            | Frame::RoomKick(_)
            | Frame::RoomTopic(_)
            | Frame::RoomRetention(_)
            | Frame::RoomRoleSet(_) => self.change(correlation, frame),
            Frame::Auth(auth) => self.log_in(correlation, auth),
            Frame::Resume(resume) => self.resume(correlation, resume),
            Frame::Register(register) => self.register(correlation, register),
            Frame::PresenceSet(set) => return self.set_presence(correlation, set),
            Frame::History(_)
            | Frame::RoomList(_)
            | Frame::RoomGet(_)
            | Frame::RoomMembers(_)
            | Frame::ProfileSet(_)
            | Frame::AccountAdd(_)
            | Frame::AccountList(_)
            | Frame::AccountDisable(_)
            | Frame::AccountPassword(_) => self.calls.push(correlation, frame),
            _ => {
                return self
                    .refuse_request(correlation, &Refusal::Unsupported("this server does not do that"));
            }
        }
        Ok(())
    }

    fn on_notice(&mut self, frame: Frame) -> Result<(), CloseReason> {
        match frame {
            Frame::Ack(ack) => self.ack(&ack)?,
            Frame::Signal(signal) => self.signal(&signal),
            Frame::Pong(_) => self.deadlines.on_pong(Instant::now()),
            _ => {} // CANCEL: the session has noted it, and the answer will say so
        }
        Ok(())
    }

    fn on_leave(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::FORGET_DEVICE => self.forget_device(),
            Disposition::END => self.end_session(),
            _ => {}
        }
        self.ending = Ending::Draining;
        self.deadlines.drain(Instant::now());
    }

    fn on_order(&mut self, order: Order) -> Result<(), CloseReason> {
        match order {
            Order::Disabled => return self.leave_because(CloseReason::AccountDisabled),
            Order::TooMuchRefused => return Err(CloseReason::Flood),
            Order::SessionReplaced => return self.leave_because(CloseReason::SessionReplaced),
            Order::Replaced(room, key) => self.replaced(room, key),
            Order::WriterHasRoom => {
                if let Some(job) = self.held.take() {
                    self.submit(job);
                }
            }
            Order::Drain { reconnect_after_ms } if self.ending == Ending::No => {
                if !self.session.is_active() {
                    return Err(CloseReason::ShuttingDown);
                }
                let goodbye = GoAway {
                    code: ErrorCode::SHUTTING_DOWN,
                    reconnect_after_ms,
                    addresses: List::default(),
                    text: Line::lossy("the server is shutting down"),
                };
                encode_into(Correlation::NONE, &goodbye, self.io.out());
                self.ending = Ending::Draining;
                self.deadlines.drain(Instant::now());
            }
            Order::Drain { .. } => {}
        }
        Ok(())
    }

    /// Ends at once; a login that has succeeded and has not been answered is answered first.
    fn leave_because(&mut self, reason: CloseReason) -> Result<(), CloseReason> {
        if self.session.is_active() {
            return Err(reason);
        }
        self.doomed = Some(reason);
        Ok(())
    }

    fn on_wake(&mut self, wake: Wake) -> Result<(), CloseReason> {
        let now = Instant::now();
        match wake {
            Wake::Left => {}
            Wake::Wrote(bytes) => {
                self.hub.metrics.bytes_written(bytes);
                self.deadlines.set_unsent(self.io.unsent() > 0, true, now);
            }
            Wake::Read(0) => self.abandon(),
            Wake::Failed(error) => {
                tracing::debug!(connection = self.id.0, %error, "the transport failed");
                self.abandon();
            }
            Wake::Read(_) => self.deadlines.on_heard(now),
            Wake::Deadline => return self.on_deadline(now),
        }
        Ok(())
    }

    fn on_deadline(&mut self, now: Instant) -> Result<(), CloseReason> {
        if let Some((_, job)) = self.paused.take_if(|(at, _)| *at <= now) {
            self.submit(job);
        }
        if self.ending == Ending::Closed {
            self.abandon(); // the last frames could not be written in time
            return Ok(());
        }
        match self.deadlines.due(now, self.stage(), self.wants_frames(), self.hub.limits()) {
            Due::Nothing => {}
            Due::Ping => encode_into(Correlation::NONE, &Ping { data: Blob::default() }, self.io.out()),
            Due::Recheck => {
                if let Some(delivery) = &mut self.delivery {
                    delivery.recheck();
                }
            }
            Due::Heads => self.tell_heads(),
            Due::Close(reason) => return Err(reason),
            // A logout that is not done by now has not been done.
            Due::Drained if self.is_preparing => return Err(CloseReason::Internal),
            Due::Drained => self.close(None),
        }
        Ok(())
    }

    /// Writes what the rooms have for the peer, as far as credit and one write allow.
    fn write_events(&mut self) {
        let Some(delivery) = &mut self.delivery else { return };
        let round = delivery.round(OUT_BYTES_MAX, self.io.out());
        self.hub.metrics.delivered(usize::try_from(round.events).unwrap_or(usize::MAX));
        let removed = delivery.tell_watches(self.hub.now_ns(), OUT_BYTES_MAX, self.io.out());
        for room in round.ended.into_iter().chain(removed) {
            self.end_subscription(room);
        }
        for fetch in round.fetches {
            self.fetch(fetch);
        }
        self.note_lag();
    }

    fn write_pongs(&mut self) {
        match &self.delivery {
            Some(delivery) => self.session.pongs(delivery, self.io.out()),
            None => self.session.pongs(&NothingFollowed, self.io.out()),
        }
    }

    /// Keeps the metrics true about how the peer's heartbeat stands.
    fn note_suspicion(&mut self) {
        let is_suspect = self.ending != Ending::Closed && self.deadlines.is_suspect();
        if std::mem::replace(&mut self.is_suspect_told, is_suspect) != is_suspect {
            self.hub.metrics.suspicion_changed(is_suspect);
        }
    }

    /// Refuses a request as its final answer.
    fn refuse_request(&mut self, correlation: Correlation, refusal: &Refusal) -> Result<(), CloseReason> {
        self.session.refuse(correlation, refusal, self.io.out())
    }

    /// Says the last words. What the peer still sends is not read.
    fn close(&mut self, reason: Option<&CloseReason>) {
        if self.ending == Ending::Closed {
            return;
        }
        if matches!(reason, Some(CloseReason::Heartbeat { .. })) {
            self.hub.metrics.peer_lost();
        }
        if let Some(reason) = reason {
            tracing::debug!(connection = self.id.0, %reason, "ending a connection");
        }
        self.session.close(reason, self.io.out());
        self.ending = Ending::Closed;
        // Whoever has taken the session up must not wait for a peer that takes nothing any more.
        let is_replaced = matches!(reason, Some(CloseReason::SessionReplaced));
        let (write, finish) = if is_replaced { REPLACED_PATIENCE } else { END_PATIENCE };
        self.finish_patience = finish;
        self.deadlines.close(Instant::now() + write);
        self.let_go();
    }

    /// The transport is gone: there is nobody to say anything to.
    fn abandon(&mut self) {
        self.io.abandon();
        self.ending = Ending::Closed;
        self.let_go();
    }

    fn is_settled(&self) -> bool {
        self.session.is_settled() && !self.is_preparing && self.held.is_none() && self.paused.is_none()
    }

    fn stage(&self) -> Stage {
        match (self.session.is_active(), self.session.greeting()) {
            (true, _) => Stage::Active,
            (false, Some(_)) => Stage::Greeted,
            (false, None) => Stage::Silent,
        }
    }

    /// Whether the next frame may be read and carried out now: backpressure is reading less.
    fn wants_frames(&self) -> bool {
        self.ending == Ending::No
            && !self.is_preparing
            && self.entering.is_none()
            && self.held.is_none()
            && self.paused.is_none()
            && self.session.wants_frames()
            && self.io.unsent() < OUT_BYTES_MAX
    }

    /// Counts the frames that are about to be written; events together, because there are many of them.
    fn count_frames(&mut self) {
        let metrics = &self.hub.metrics;
        let (mut rest, mut events) = (self.io.uncounted(), 0);
        while let Some(header) = Header::read(rest) {
            match header.frame_type {
                FrameType::EVENT => events += 1,
                other => metrics.frame_sent(other),
            }
            if header.frame_type == FrameType::ERROR {
                let code =
                    rest.get(HEADER_BYTES..HEADER_BYTES + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
                metrics.error_sent(ErrorCode(code));
            }
            let total = HEADER_BYTES.saturating_add(usize::try_from(header.length).unwrap_or(usize::MAX));
            rest = rest.get(total..).unwrap_or_default();
        }
        metrics.frames_sent(FrameType::EVENT, events);
    }
}

impl<S> Connection<S> {
    /// Gives up the place, the presence and the subscriptions: nothing more is said about them.
    fn let_go(&mut self) {
        self.seat = None;
        // What waits to be stored has no answer any more, and nobody may store it behind the last words.
        (self.held, self.paused) = (None, None);
        let followed = self.delivery.take().map_or(0, |delivery| delivery.len());
        (0..followed).for_each(|_| self.hub.metrics.subscription_ended());
        self.hub.metrics.lag_changed(std::mem::take(&mut self.lag_told), 0);
        if std::mem::take(&mut self.is_suspect_told) {
            self.hub.metrics.suspicion_changed(false);
        }
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.link.close();
        self.let_go();
    }
}

/// The progress of a connection without subscriptions.
struct NothingFollowed;

impl Progress for NothingFollowed {
    fn targets(&self) -> Vec<(RoomId, Seq)> {
        Vec::new()
    }
    fn has_reached(&self, _: RoomId, _: Seq) -> bool {
        true
    }
}
