//! Says hello in a room and prints where the server stored it: `hello [ROOM [TEXT]]`.

mod common;

#[tokio::main]
async fn main() -> common::Outcome<()> {
    let client = common::client().await?;
    let room = common::enter(&client, &common::argument(1, "hello")).await?;
    let sent = room.send(common::argument(2, "Hello, world!")).await?;
    println!("{} of room {}{}", sent.seq, room.name(), if sent.duplicate { ", again" } else { "" });
    client.close().await;
    Ok(())
}
