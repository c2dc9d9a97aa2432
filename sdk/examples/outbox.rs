//! Sends a message that outlives the program: `outbox [ROOM [FOLDER [TEXT]]]`.
//!
//! The message is on the disk before anything else happens. Kill the program at any moment and start it again: what
//! had no answer is sent again under the same identity, so that it stands in the room once.

mod common;

use hark_sdk::{Draft, Outcome};

#[tokio::main]
async fn main() -> common::Outcome<()> {
    let folder = common::argument(2, "hark-outbox");
    let client = common::builder()?.outbox_dir(folder).connect().await?;
    // What an earlier run has left is on its way already; nobody else asks what becomes of it.
    let left = client.outbox().pending().await?.len();
    let room = common::enter(&client, &common::argument(1, "hello")).await?;
    let mut publishing = room.publish(Draft::text(common::argument(3, "This will arrive.")));
    println!("{} is on the disk", publishing.queued().await?);
    match publishing.outcome().await {
        Outcome::Sent(sent) => println!("stored as {} of room {}", sent.seq, room.name()),
        Outcome::Duplicate(sent) => println!("was stored before, as {}", sent.seq),
        other => println!("{other:?}"),
    }
    // In order: what was left in this room has its outcome by now.
    println!("{left} were left, {} are", client.outbox().pending().await?.len());
    client.close().await;
    while let Some(settled) = client.outbox().settled().await {
        println!("from an earlier run: {} {:?}", settled.client_id, settled.outcome);
    }
    Ok(())
}
