//! Prints the newest LIMIT events of a room, oldest first: `history [ROOM [LIMIT]]`.

mod common;

use futures_util::StreamExt;
use hark_sdk::HistoryItem;

#[tokio::main]
async fn main() -> common::Outcome<()> {
    let client = common::client().await?;
    let room = common::enter(&client, &common::argument(1, "hello")).await?;
    let limit = common::argument(2, "20").parse()?;
    let mut items = room.history().latest().limit(limit).stream();
    while let Some(item) = items.next().await {
        match item? {
            HistoryItem::Event(event) => match (event.text(), event.change()) {
                (Some(text), _) => {
                    println!("{} {}: {}", event.seq, event.author_name, text.replace(char::is_control, " "));
                }
                (None, Some(change)) => println!("{} {} {change:?}", event.seq, event.author_name),
                (None, None) => println!("{} {} {}", event.seq, event.author_name, event.kind),
            },
            HistoryItem::Gap(gap) => println!("{}..={} can not be shown", gap.from, gap.to),
            _ => {}
        }
    }
    client.close().await;
    Ok(())
}
