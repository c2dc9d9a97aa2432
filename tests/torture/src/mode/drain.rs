//! A server with a thousand clients is told to end, and started again: they come back spread over the time that it
//! said, and nothing is lost.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hark_checker::record::Policy;
use hark_checker::{Least, Terms, Verdict, What, check};
use hark_sdk::{Client, ClientEvent, Draft, Kind};
use serde_json::json;
use tokio::task::JoinSet;

use super::fleet::{drop_client, percentile};
use super::{Amount, Measured};
use crate::Trouble;
use crate::reader::Reader;
use crate::recorder::{Recorder, save};
use crate::world::{Account, World, room};

const CLIENTS: usize = 1_000;
/// Accounts between which the clients are divided.
const ACCOUNTS: usize = 20;
/// How many tenths of the announced window must have somebody come back in them.
const TENTHS_LEAST: usize = 6;
/// How long all may take to come back.
const BACK: Duration = Duration::from_secs(60);

/// When somebody was told to come back, and when they did, since the signal.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    told: Option<Duration>,
    back: Option<Duration>,
}

pub(super) async fn run(amount: Amount, folder: &Path) -> Result<Measured, Trouble> {
    let clients = amount.count.unwrap_or(CLIENTS);
    let mut world = World::start(folder, None).await?;
    let mut accounts = Vec::new();
    for number in 0..ACCOUNTS {
        accounts.push(world.account(&format!("person{number}")).await?);
    }
    world.rooms(&["tea"], &accounts).await?;
    let recorder = Recorder::new(&format!("torture --mode drain --count {clients}"));
    recorder.write("rig", What::Room { room: "tea".into(), epoch: epoch(&world)?, history: Policy::All });
    let came = Arc::new(Mutex::new(vec![Came::default(); clients]));
    let origin = Arc::new(Mutex::new(None));
    let mut crowd = Vec::new();
    for number in 0..clients {
        let client = world.direct()?.client(&accounts[number % ACCOUNTS], 8).await?;
        watch(&client, number, came.clone(), origin.clone());
        crowd.push(client);
    }
    let readers = readers(&world, &accounts, &recorder)?;
    publish(&crowd, &recorder, 0).await?;
    let resumed_before = Instant::now();
    *origin.lock().unwrap_or_else(PoisonError::into_inner) = Some(resumed_before);
    let ended = world.terminate().await?;
    world.restart().await?;
    let deadline = Instant::now() + BACK;
    let count =
        || came.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|it| it.back.is_some()).count();
    while count() < clients && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    publish(&crowd, &recorder, 1).await?;
    let resumed = world.metric("hark_resumes_total{outcome=\"done\"}")?;
    let came = came.lock().unwrap_or_else(PoisonError::into_inner).clone();
    finish(&mut world, readers, &accounts, &recorder).await?;
    for client in crowd {
        drop_client(client).await;
    }
    world.terminate().await?;
    crate::dump::dump(&world.data(), &recorder)?;
    recorder.write("rig", What::End);
    told(clients, ended, resumed, &came, &recorder, folder)
}

fn epoch(world: &World) -> Result<u64, Trouble> {
    let rooms = crate::dump::rooms(&crate::dump::open(&world.data())?)?;
    Ok(rooms.first().ok_or("a room was made")?.epoch)
}

fn watch(client: &Client, number: usize, came: Arc<Mutex<Vec<Came>>>, origin: Arc<Mutex<Option<Instant>>>) {
    let mut events = client.events();
    tokio::spawn(async move {
        while let Some(event) = std::future::poll_fn(|cx| futures(&mut events, cx)).await {
            let Some(since) = origin.lock().unwrap_or_else(PoisonError::into_inner).map(|it| it.elapsed())
            else {
                continue;
            };
            let mut came = came.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                ClientEvent::GoingAway { reconnect_after, .. } => came[number].told = Some(reconnect_after),
                ClientEvent::Connected => came[number].back = came[number].back.or(Some(since)),
                _ => {}
            }
        }
    });
}

fn futures(
    events: &mut hark_sdk::ClientEvents,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Option<ClientEvent>> {
    use futures_util::Stream;
    std::pin::Pin::new(events).poll_next(cx)
}

fn readers(world: &World, accounts: &[Account], recorder: &Recorder) -> Result<Vec<Reader>, Trouble> {
    let begin = |number: usize| {
        let way = world.direct()?;
        Ok(Reader::begin(&format!("reader{number}"), &accounts[number], "tea", way, recorder.clone()))
    };
    (0..4).map(begin).collect()
}

/// Every client says something once, and waits for the answer.
async fn publish(crowd: &[Client], recorder: &Recorder, time: usize) -> Result<(), Trouble> {
    let mut saying = JoinSet::new();
    for (number, client) in crowd.iter().enumerate() {
        let (client, recorder) = (client.clone(), recorder.clone());
        saying.spawn(async move {
            let room = room(&client, "tea").await?;
            let (author, session) = (client.account().name.to_string(), format!("client{number}"));
            let body = format!("{session} {time}");
            let mut id = [1; 16];
            id[..8].copy_from_slice(&(number as u64).to_be_bytes());
            id[8..].copy_from_slice(&(time as u64 + 1).to_be_bytes());
            let client_id = hark_sdk::ClientId::new(id).ok_or("not all zeros")?;
            crate::author::tell(&recorder, &session, (&author, "tea", client_id), body.as_bytes(), async {
                room.publish(Draft::new(Kind::MESSAGE, body.clone()).client_id(client_id)).await
            })
            .await;
            Ok::<(), Trouble>(())
        });
    }
    while let Some(said) = saying.join_next().await {
        said??;
    }
    Ok(())
}

async fn finish(
    world: &mut World,
    readers: Vec<Reader>,
    accounts: &[Account],
    recorder: &Recorder,
) -> Result<(), Trouble> {
    let way = world.direct()?;
    let mut head = 0;
    for (number, account) in accounts.iter().enumerate().take(3) {
        let name = format!("drain{number}");
        head = crate::reader::drain(&name, account, "tea", &way, recorder).await?;
    }
    let deadline = Instant::now() + crate::world::PATIENCE;
    while readers.iter().any(|reader| reader.seen() < head) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for reader in readers {
        reader.end().await?;
    }
    Ok(())
}

fn told(
    clients: usize,
    ended: Duration,
    resumed: f64,
    came: &[Came],
    recorder: &Recorder,
    folder: &Path,
) -> Result<Measured, Trouble> {
    let records = recorder.take();
    let least = Least { acks: clients, faults: 0, unknown: 0, drains: 3 };
    let report = check(&records, &Terms { least, settlement: BACK });
    save(&records, &folder.join("history.jsonl"))?;
    let mut told: Vec<u64> =
        came.iter().filter_map(|it| it.told).map(|it| u64::try_from(it.as_millis()).unwrap_or(0)).collect();
    let mut back: Vec<u64> =
        came.iter().filter_map(|it| it.back).map(|it| u64::try_from(it.as_millis()).unwrap_or(0)).collect();
    let window = told.iter().max().copied().unwrap_or(0);
    let mut tenths = [false; 10];
    for time in &back {
        tenths[usize::try_from(time * 10 / (window + 1)).unwrap_or(9).min(9)] = true;
    }
    let used = tenths.iter().filter(|used| **used).count();
    let (was_told, came_back) = (told.len(), back.len());
    let half = (percentile(&mut told, 50), percentile(&mut back, 50), percentile(&mut back, 99));
    let good = report.verdict == Verdict::Valid
        && came_back == clients
        && was_told == clients
        && used >= TENTHS_LEAST
        && resumed >= clients as f64;
    let line = format!(
        "{clients} clients: {was_told} were told when to come back (within {window} ms, half of them by {} ms), \
         {came_back} came back (half by {} ms, 99 of 100 by {} ms), in {used} of 10 tenths of the window, {resumed} \
         sessions resumed; harkd ended after {:.1} s; {report}",
        half.0,
        half.1,
        half.2,
        ended.as_secs_f64()
    );
    let figures = json!({
        "clients": clients, "told": was_told, "window_ms": window, "back": came_back, "back_p50_ms": half.1,
        "back_p99_ms": half.2, "tenths_used": used, "sessions_resumed": resumed,
    });
    Ok(Measured { good, figures, line })
}
