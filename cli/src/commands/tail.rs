//! `hark tail`: what happens in a room as it happens.

use std::ops::ControlFlow;

use futures_util::FutureExt;
use hark_sdk::{EndReason, Epoch, Events, Room, RoomEvent, Seq, Start};
use serde::Serialize;

use crate::args::TailFrom;
use crate::commands::ended;
use crate::connect::{Purpose, with_patience};
use crate::context::Context;
use crate::exit::{Done, Failure, Outcome};
use crate::output::{Output, note};
use crate::record::Record;

/// Prints a room's events from a point on, for ever or until `count` of them were printed.
pub(crate) async fn run(
    context: Context,
    room: &str,
    from: TailFrom,
    count: Option<u64>,
    output: &mut Output,
) -> Done {
    // A follower waits for its server however long that is away, unless it was told otherwise.
    let patience_s = context.patience_s.unwrap_or(0);
    let client = context.connect(Purpose::Task).await?;
    let follow = async {
        let room = client.room(room).await?;
        Tail { room, left: count, last: Seq::ZERO }.follow(start(from), output).await
    };
    let done = with_patience(&client, patience_s, follow).await;
    client.close_within(super::LEAVE_WITHIN).await;
    done
}

fn start(from: TailFrom) -> Start {
    match from {
        TailFrom::Start => Start::Beginning,
        TailFrom::Now => Start::Now,
        TailFrom::Seq(seq) => Start::After { epoch: None, seq: Seq(seq).previous() },
    }
}

/// How far a tail has come.
struct Tail {
    room: Room,
    left: Option<u64>,
    last: Seq,
}

/// The log is another incarnation now.
#[derive(Clone, Copy, Debug)]
struct Replaced {
    epoch: Epoch,
    first: Seq,
    head: Seq,
}

impl Tail {
    async fn follow(&mut self, mut start: Start, output: &mut Output) -> Done {
        loop {
            let mut events = self.room.events(start).await?;
            let Some(replaced) = self.print(&mut events, output).await? else { return Ok(()) };
            // What both incarnations have in common was printed; the rest of the new one was not.
            start = Start::After { epoch: Some(replaced.epoch), seq: self.last.min(replaced.head) };
        }
    }

    /// Prints until there is enough, or until the log was replaced.
    async fn print(&mut self, events: &mut Events, output: &mut Output) -> Done<Option<Replaced>> {
        let mut replaced = None;
        loop {
            // What is there is shown before anything is waited for.
            let item = match events.next().now_or_never() {
                Some(item) => item,
                None => {
                    output.flush()?;
                    events.next().await
                }
            };
            match item {
                Some(RoomEvent::Reset { epoch, first, head }) => {
                    replaced = Some(Replaced { epoch, first, head });
                    self.tell_replaced(Replaced { epoch, first, head }, output)?;
                }
                Some(RoomEvent::Ended { reason: EndReason::Reset }) | None if replaced.is_some() => {
                    return Ok(replaced);
                }
                Some(RoomEvent::Ended { reason }) => return Err(self.why_ended(&reason)),
                None => return Err(ended(self.room.client())),
                Some(item) => {
                    if self.take(&item, output)?.is_break() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn take(&mut self, item: &RoomEvent, output: &mut Output) -> Done<ControlFlow<()>> {
        let name = self.room.name().as_str();
        match item {
            RoomEvent::Event(event) => {
                output.event(&Record::new(name, event))?;
                self.last = event.seq;
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            RoomEvent::Gap(gap) => {
                output.gap(name, gap)?;
                self.last = gap.to;
            }
            _ => {}
        }
        Ok(if self.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn tell_replaced(&self, replaced: Replaced, output: &mut Output) -> Done {
        note(format!("The log of {} was replaced; it now reaches to {}.", self.room.name(), replaced.head));
        let json = ResetJson {
            room: self.room.name().as_str(),
            reset: Reset { epoch: replaced.epoch.0, first: replaced.first.0, head: replaced.head.0 },
        };
        output.result(&json, format!("--- the log was replaced (epoch {})", replaced.epoch))
    }

    fn why_ended(&self, reason: &EndReason) -> Failure {
        let room = self.room.name();
        match reason {
            EndReason::Left => Failure::new(Outcome::Refused, format!("you have left {room}")),
            EndReason::Kicked => Failure::new(Outcome::Refused, format!("you were removed from {room}")),
            EndReason::Refused(code) => Failure::new(
                Outcome::Refused,
                format!("the server does not let you follow {room} any more ({code})"),
            ),
            EndReason::Closed => ended(self.room.client()),
            _ => Failure::new(Outcome::Refused, format!("the server ended the subscription of {room}")),
        }
    }
}

#[derive(Debug, Serialize)]
struct ResetJson<'a> {
    room: &'a str,
    reset: Reset,
}

#[derive(Debug, Serialize)]
struct Reset {
    epoch: u64,
    first: u64,
    head: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seq_is_the_first_event_that_comes() {
        assert_eq!(start(TailFrom::Seq(5)), Start::After { epoch: None, seq: Seq(4) });
        assert_eq!(start(TailFrom::Start), Start::Beginning);
        assert_eq!(start(TailFrom::Now), Start::Now);
    }
}
