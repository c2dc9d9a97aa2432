//! One reader that takes nothing while a hundred thousand messages pass: it costs the server next to no memory,
//! and the other readers next to no time; when it reads again, it gets everything.

use std::path::Path;
use std::time::Instant;

use hark_sdk::{Events, RoomEvent, Start};
use serde_json::json;

use super::fleet::{drop_client, pace, percentile};
use super::{Amount, Measured};
use crate::Trouble;
use crate::world::{Account, World, room};

const MESSAGES: usize = 100_000;
const A_SECOND: usize = 2_000;
const READERS: usize = 4;
/// By so much the server's memory may grow on account of the reader.
const GROWTH_MAX: f64 = 16.0 * 1024.0 * 1024.0;
/// By so much the others' 99th percentile may.
const LATENCY_FACTOR_MAX: f64 = 2.0;

struct Seen {
    p99: u64,
    growth: f64,
    /// What the slow reader got when it read again.
    caught_up: Option<usize>,
}

pub(super) async fn run(amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    let messages = amount.count.unwrap_or(MESSAGES);
    let without = once(&folder.join("without"), messages, false).await?;
    let with = once(&folder.join("with"), messages, true).await?;
    let factor = with.p99 as f64 / without.p99.max(1) as f64;
    let growth = with.growth - without.growth;
    let all = with.caught_up == Some(messages);
    let good = all && factor < LATENCY_FACTOR_MAX && growth < GROWTH_MAX;
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
    let line = format!(
        "{messages} messages at {A_SECOND}/s, {READERS} readers: p99 {:.1} ms without a stalled reader, {:.1} ms with \
         one (x{factor:.2}); memory grew by {:.1} MiB without and {:.1} MiB with it; it got {} of {messages} afterwards",
        ms(without.p99),
        ms(with.p99),
        mib(without.growth),
        mib(with.growth),
        with.caught_up.unwrap_or(0),
    );
    let figures = json!({
        "messages": messages, "p99_ms_without": ms(without.p99), "p99_ms_with": ms(with.p99), "factor": factor,
        "growth_mib_without": mib(without.growth), "growth_mib_with": mib(with.growth),
        "caught_up": with.caught_up,
    });
    Ok(Measured { good, figures, line })
}

async fn once(folder: &Path, messages: usize, with_slow: bool) -> Result<Seen, Trouble> {
    std::fs::create_dir_all(folder)?;
    let mut world = World::start(folder, None).await?;
    let mut accounts = Vec::new();
    for name in ["author", "reader", "slow"] {
        accounts.push(world.account(name).await?);
    }
    world.rooms(&["tea"], &accounts).await?;
    let [author, reader, slow] = &accounts[..] else { return Err("three accounts were made".into()) };
    let mut readers = Vec::new();
    let origin = Instant::now();
    for _ in 0..READERS {
        let events = follow(&world, reader).await?;
        readers.push(tokio::spawn(latencies(events, messages, origin)));
    }
    let stalled = if with_slow { Some(follow(&world, slow).await?) } else { None };
    let before = world.memory()?;
    let client = world.direct()?.client(author, 4_096).await?;
    pace(&room(&client, "tea").await?, messages, A_SECOND, origin).await?;
    let mut times = Vec::new();
    for reader in readers {
        times.extend(reader.await?);
    }
    let growth = world.memory()? as f64 - before as f64;
    let caught_up = match stalled {
        Some(events) => Some(latencies(events, messages, origin).await.len()),
        None => None,
    };
    drop_client(client).await;
    world.terminate().await?;
    Ok(Seen { p99: percentile(&mut times, 99), growth, caught_up })
}

async fn follow(world: &World, account: &Account) -> Result<Events, Trouble> {
    let client = world.direct()?.client(account, 8).await?;
    Ok(room(&client, "tea").await?.events(Start::Now).await?)
}

/// How long each message was on its way. Each next one must be the next of the log, or the rest is not counted.
async fn latencies(mut events: Events, messages: usize, origin: Instant) -> Vec<u64> {
    let mut times = Vec::with_capacity(messages);
    let mut next = events.begun().next.0;
    while times.len() < messages {
        match events.next().await {
            Some(RoomEvent::Event(event)) if event.seq.0 == next => {
                next += 1;
                let now = u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let sent = std::str::from_utf8(&event.body).ok().and_then(|text| text.parse::<u64>().ok());
                times.push(now.saturating_sub(sent.unwrap_or(0)));
            }
            Some(RoomEvent::Lagging { .. } | RoomEvent::Replayed { .. } | RoomEvent::Signal { .. }) => {}
            _ => break,
        }
    }
    times
}
