//! `hark history`: what was said in a room, oldest first, as much of it as was asked for.

use futures_util::{FutureExt, StreamExt};
use hark_sdk::{HistoryItem, HistoryStream, Room, Seq};

use crate::commands::with_room;
use crate::context::Context;
use crate::exit::Done;
use crate::output::Output;
use crate::record::Record;

/// Prints a part of a room's log.
pub(crate) async fn run(
    context: Context,
    room: &str,
    before: Option<u64>,
    limit: Option<u64>,
    output: &mut Output,
) -> Done {
    with_room(context, room, async |room| print(room, part(room, before, limit), output).await).await
}

fn part(room: &Room, before: Option<u64>, limit: Option<u64>) -> HistoryStream {
    let history = match before {
        Some(seq) => room.history().before(Seq(seq)),
        None => room.history().latest(),
    };
    match limit {
        Some(limit) => history.limit(limit).stream(),
        None => history.stream(),
    }
}

async fn print(room: &Room, mut items: HistoryStream, output: &mut Output) -> Done {
    let name = room.name().as_str();
    loop {
        // What is there is shown before anything is waited for.
        let item = match items.next().now_or_never() {
            Some(item) => item,
            None => {
                output.flush()?;
                items.next().await
            }
        };
        match item.transpose()? {
            Some(HistoryItem::Event(event)) => output.event(&Record::new(name, &event))?,
            Some(HistoryItem::Gap(gap)) => output.gap(name, &gap)?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
