//! Publishing by the thousand, for modes that need a log or a load rather than a history.

use std::time::{Duration, Instant};

use hark_sdk::{Client, Draft, Kind, Room};
use tokio::task::JoinSet;

use crate::Trouble;

/// Publishes without an answer that one client keeps while it fills a log.
const PIPELINE: usize = 512;

/// Publishes so many messages of so many bytes, as fast as they are taken.
pub(super) async fn fill(room: &Room, count: usize, bytes: usize) -> Result<(), Trouble> {
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let permit = room.reserve().await?;
        let body = format!("{number:0bytes$}").into_bytes();
        waiting.spawn(permit.publish(Draft::new(Kind::MESSAGE, body)));
        while waiting.len() >= PIPELINE {
            waiting.join_next().await.ok_or("something waits")???;
        }
    }
    while let Some(outcome) = waiting.join_next().await {
        outcome??;
    }
    Ok(())
}

/// Publishes so many messages evenly, so many a second; each says when it was due, in nanoseconds since `origin`.
pub(super) async fn pace(room: &Room, count: usize, a_second: usize, origin: Instant) -> Result<(), Trouble> {
    let begun = Instant::now();
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let due = Duration::from_secs_f64(number as f64 / a_second as f64);
        if let Some(ahead) = due.checked_sub(begun.elapsed()).filter(|ahead| ahead.as_millis() > 0) {
            tokio::time::sleep(ahead).await;
        }
        let permit = room.reserve().await?;
        let body = origin.elapsed().as_nanos().to_string().into_bytes();
        waiting.spawn(permit.publish(Draft::new(Kind::MESSAGE, body)));
        while let Some(outcome) = waiting.try_join_next() {
            outcome??;
        }
    }
    while let Some(outcome) = waiting.join_next().await {
        outcome??;
    }
    Ok(())
}

/// The value below which so many hundredths of the values lie.
pub(super) fn percentile(values: &mut [u64], hundredths: usize) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) * hundredths / 100).copied().unwrap_or(0)
}

/// Ends a client without waiting for anything.
pub(super) async fn drop_client(client: Client) {
    client.close_within(Duration::ZERO).await;
}
