//! Reading a room's log: page after page, always in ascending order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{self, BoxStream};
use hark_protocol::{Direction, Epoch, Frame, Page, RawFrame, Seq};

use crate::error::{Error, HistoryError, HistoryErrorKind};
use crate::event::{Event, Gap, Origin};
use crate::room::Room;

/// A part of a room's log that is to be read. Without any bound it is the whole log.
///
/// Whatever part is asked for, its items come oldest first.
#[derive(Clone, Debug)]
#[must_use = "nothing is read before stream()"]
pub struct History {
    room: Room,
    part: Part,
    limit: Option<u64>,
}

/// Which part of the log.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// From behind this seq on; 0 = from the oldest that can be read.
    After(Seq),
    /// Up to the one before this seq; `None` = up to the newest.
    Before(Option<Seq>),
}

/// One item of history. Together they cover every seq of the part that was asked for and can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryItem {
    /// An event.
    Event(Event),
    /// Events that can not be delivered.
    Gap(Gap),
}

impl History {
    pub(crate) fn new(room: Room) -> History {
        History { room, part: Part::After(Seq::ZERO), limit: None }
    }

    /// Only what is older than `seq`; with a limit, the newest of that.
    pub fn before(self, seq: Seq) -> History {
        History { part: Part::Before(Some(seq)), ..self }
    }

    /// Only what is newer than `seq`; with a limit, the oldest of that.
    pub fn after(self, seq: Seq) -> History {
        History { part: Part::After(seq), ..self }
    }

    /// Up to the newest event; with a limit, the newest ones.
    pub fn latest(self) -> History {
        History { part: Part::Before(None), ..self }
    }

    /// At most so many seqs.
    pub fn limit(self, limit: u64) -> History {
        History { limit: Some(limit), ..self }
    }

    /// Reads, a page at a time and no further ahead than one page. What comes into the log after the first page
    /// was read is not part of it, so that the stream ends. After an error it ends; dropping it stops reading.
    ///
    /// # Errors
    /// The stream's items fail with [`HistoryErrorKind`].
    pub fn stream(self) -> HistoryStream {
        let reading =
            Reading { room: self.room, plan: Plan::Unplanned(self.part, self.limit), ready: VecDeque::new() };
        let items = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        HistoryStream { items: Box::pin(items) }
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// [`HistoryErrorKind`]; what was read before is dropped.
    pub async fn collect(self) -> Result<Vec<HistoryItem>, HistoryError> {
        futures_util::TryStreamExt::try_collect(self.stream()).await
    }
}

/// The stream of [`History::stream`].
pub struct HistoryStream {
    items: BoxStream<'static, Result<HistoryItem, HistoryError>>,
}

impl Stream for HistoryStream {
    type Item = Result<HistoryItem, HistoryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.items.as_mut().poll_next(cx)
    }
}

impl std::fmt::Debug for HistoryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HistoryStream").finish_non_exhaustive()
    }
}

/// A part of a log that is being read.
struct Reading {
    room: Room,
    plan: Plan,
    ready: VecDeque<HistoryItem>,
}

/// What is still to be read.
enum Plan {
    /// Where the log begins and ends is not known yet.
    Unplanned(Part, Option<u64>),
    /// From `next` to `last`.
    Range { epoch: Epoch, next: Seq, last: Seq },
}

impl Reading {
    async fn next(&mut self) -> Result<Option<HistoryItem>, HistoryError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match self.plan {
                Plan::Unplanned(part, limit) => self.plan(part, limit).await?,
                Plan::Range { next, last, .. } if next > last => return Ok(None),
                Plan::Range { epoch, next, last } => self.read_page(epoch, next, last).await?,
            }
        }
    }

    /// Asks how far the log reaches, and turns the part into a range of it: seqs are dense, so that the newest 50
    /// before 1000 are those from 950 on.
    async fn plan(&mut self, part: Part, limit: Option<u64>) -> Result<(), HistoryError> {
        let page = self.ask(Direction::BEFORE, Epoch(0), Seq::ZERO, 1).await?;
        let limit = limit.unwrap_or(u64::MAX);
        let (next, last) = match part {
            Part::After(seq) => {
                let next = if seq == Seq::ZERO { page.first } else { seq.next() };
                (next, Seq(next.0.saturating_add(limit).saturating_sub(1)).min(page.head))
            }
            Part::Before(seq) => {
                let last = seq.map_or(page.head, |seq| seq.previous().min(page.head));
                let next = Seq(last.0.saturating_sub(limit).saturating_add(1)).max(page.first);
                (next, last)
            }
        };
        let is_empty = limit == 0 || page.head == Seq::ZERO || last == Seq::ZERO;
        let next = if is_empty { last.next() } else { next };
        self.plan = Plan::Range { epoch: page.epoch, next, last };
        Ok(())
    }

    /// Reads the page that begins at `next`, and makes a gap of every seq that it passes over.
    async fn read_page(&mut self, epoch: Epoch, next: Seq, last: Seq) -> Result<(), HistoryError> {
        let wanted = u16::try_from(last.0 - next.0 + 1).unwrap_or(u16::MAX);
        let page = self.ask(Direction::AFTER, epoch, next.previous(), wanted).await?;
        let me = self.room.client().account().id;
        let mut expected = next;
        for raw in page.events.iter() {
            let event = decode(&raw)?;
            if event.room != self.room.id() || event.seq < expected {
                return Err(HistoryErrorKind::Protocol.into());
            }
            if event.seq > last {
                break;
            }
            self.pass_over(expected, event.seq.previous());
            expected = event.seq.next();
            self.ready.push_back(HistoryItem::Event(Event::new(event, page.epoch, Origin::Replay, me)));
        }
        match page.more {
            // Nothing more comes, although the log said that it reaches further.
            false => {
                self.pass_over(expected, last);
                expected = last.next();
            }
            // A page that does not lead on would be asked for for ever.
            true if expected == next => return Err(HistoryErrorKind::Protocol.into()),
            true => {}
        }
        self.plan = Plan::Range { epoch, next: expected, last };
        Ok(())
    }

    fn pass_over(&mut self, from: Seq, to: Seq) {
        if from <= to {
            self.ready.push_back(HistoryItem::Gap(Gap { from, to, reason: None }));
        }
    }

    async fn ask(
        &self,
        direction: Direction,
        epoch: Epoch,
        seq: Seq,
        limit: u16,
    ) -> Result<Page, HistoryError> {
        let room = self.room.id();
        let request = hark_protocol::History { room, direction, epoch, seq, limit };
        match self.room.request(request).await? {
            Frame::Page(page) if page.room == room => Ok(page),
            _ => Err(HistoryErrorKind::Protocol.into()),
        }
    }
}

fn decode(raw: &RawFrame) -> Result<hark_protocol::Event, HistoryError> {
    match Frame::decode(raw) {
        Ok(Frame::Event(event)) => Ok(event),
        Ok(_) => Err(HistoryErrorKind::Protocol.into()),
        Err(error) => Err(Error::with(HistoryErrorKind::Protocol, error)),
    }
}
