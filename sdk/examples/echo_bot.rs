//! Repeats what others say in a room, until it has answered COUNT messages: `echo_bot [ROOM [COUNT]]`.
//!
//! It answers what is new only, and never itself. Each answer's identity is made from the message that it answers, so
//! that a bot which is killed between sending and remembering does not answer twice.

mod common;

use hark_sdk::{ClientId, Draft, Event, Kind, Origin, RoomEvent, Start};

#[tokio::main]
async fn main() -> common::Outcome<()> {
    let client = common::client().await?;
    let room = common::enter(&client, &common::argument(1, "hello")).await?;
    let count: usize = common::argument(2, "10").parse()?;
    let mut events = room.events(Start::Now).await?;
    // Whoever waits for the bot may speak now.
    println!("ready");
    let mut answered = 0;
    while answered < count {
        let event = match events.next().await {
            Some(RoomEvent::Event(event)) if is_to_be_answered(&event) => event,
            Some(RoomEvent::Ended { reason }) => return Err(format!("the room ended: {reason:?}").into()),
            Some(_) => continue,
            None => break,
        };
        let text = format!("{}: {}", event.author_name, event.text().unwrap_or_default());
        let sent = room.publish(Draft::text(text).client_id(answer_id(&event))).await?;
        println!("{} answers {}", sent.seq, event.seq);
        answered += 1;
    }
    client.close().await;
    Ok(())
}

fn is_to_be_answered(event: &Event) -> bool {
    event.kind == Kind::MESSAGE && event.origin == Origin::Live && !event.own
}

/// The same answer to the same message has the same identity, for ever.
fn answer_id(event: &Event) -> ClientId {
    let mut bytes = *event.client_id.as_bytes();
    bytes[15] ^= 0x55;
    // Not zero: that would take an id of zeros but for this last byte, which nobody makes by chance.
    ClientId::new(bytes).unwrap_or(event.client_id)
}
