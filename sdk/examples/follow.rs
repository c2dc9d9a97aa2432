//! Prints a room from its beginning, and then what is new, until COUNT messages were seen: `follow [ROOM [COUNT]]`.
//! Losing the connection interrupts nothing but the flow; what can not be shown is named.

mod common;

use hark_sdk::{Kind, Origin, RoomEvent, Start};

#[tokio::main]
async fn main() -> common::Outcome<()> {
    let client = common::client().await?;
    let room = common::enter(&client, &common::argument(1, "hello")).await?;
    let count: usize = common::argument(2, "10").parse()?;
    let mut events = room.events(Start::Beginning).await?;
    let mut seen = 0;
    while seen < count {
        match events.next().await {
            Some(RoomEvent::Event(event)) if event.kind == Kind::MESSAGE => {
                let age = if event.origin == Origin::Replay { "old" } else { "new" };
                // A stranger's text may hold anything: what is shown has no control characters.
                let text = event.text().unwrap_or_default().replace(char::is_control, " ");
                println!("{} {age} {}: {text}", event.seq, event.author_name);
                seen += 1;
            }
            Some(RoomEvent::Gap(gap)) => println!("{}..={} can not be shown", gap.from, gap.to),
            Some(RoomEvent::Ended { reason }) => return Err(format!("the room ended: {reason:?}").into()),
            Some(_) => {}
            None => break,
        }
    }
    client.close().await;
    Ok(())
}
