//! A server with a million messages is killed: how long until it acknowledges again.

use std::path::Path;
use std::time::{Duration, Instant};

use hark_sdk::{Draft, Kind};
use rustix::process::Signal;
use serde_json::json;

use super::fleet::{drop_client, fill};
use super::{Amount, Measured};
use crate::Trouble;
use crate::world::{World, room};

const MESSAGES: usize = 1_000_000;
const WRITERS: usize = 4;
const BODY_BYTES: usize = 64;
const TIMES: usize = 3;
/// From the start of the process to the first acknowledgement.
const FIRST_ACK_MAX: Duration = Duration::from_secs(2);

pub(super) async fn run(amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    let messages = amount.count.unwrap_or(MESSAGES);
    let mut world = World::start(folder, None).await?;
    let mut accounts = Vec::new();
    for number in 0..WRITERS {
        accounts.push(world.account(&format!("writer{number}")).await?);
    }
    world.rooms(&["tea"], &accounts).await?;
    let filled = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for account in &accounts {
        let client = world.direct()?.client(account, 4_096).await?;
        writers.spawn(async move {
            let room = room(&client, "tea").await?;
            fill(&room, messages / WRITERS, BODY_BYTES).await?;
            drop_client(client).await;
            Ok::<(), Trouble>(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let filled = filled.elapsed();
    let mut times = Vec::new();
    for number in 0..TIMES {
        // Killed with something on its way, so that the write-ahead log is not empty.
        let client = world.direct()?.client(&accounts[0], 4_096).await?;
        let tea = room(&client, "tea").await?;
        let busy = tokio::spawn(async move { fill(&tea, 100_000, BODY_BYTES).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let way = world.direct()?;
        world.signal(Signal::KILL)?;
        world.kill().await?;
        busy.abort();
        drop_client(client).await;
        let begun = Instant::now();
        let account = accounts[number % WRITERS].clone();
        let first = tokio::spawn(async move {
            let client = way.client(&account, 8).await?;
            let tea = room(&client, "tea").await?;
            tea.reserve().await?.publish(Draft::new(Kind::MESSAGE, "first")).await?;
            let time = begun.elapsed();
            drop_client(client).await;
            Ok::<Duration, Trouble>(time)
        });
        world.restart().await?;
        times.push(first.await??);
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    let line = format!(
        "{messages} messages stored (in {:.0} s): first acknowledgement {seconds:.2?} s after the start behind kill -9",
        filled.as_secs_f64()
    );
    let figures = json!({ "messages": messages, "first_ack_seconds": seconds });
    Ok(Measured { good: worst <= FIRST_ACK_MAX, figures, line })
}
