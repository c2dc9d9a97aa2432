//! `hark rooms`, `hark create`, `hark join`, `hark direct`: finding rooms and coming into them.

use hark_sdk::{HistoryPolicy, NewRoom, Room, RoomFilter, RoomInfo, Visibility};
use serde::Serialize;

use crate::args::HistoryChoice;
use crate::commands::with_client;
use crate::context::Context;
use crate::exit::Done;
use crate::output::{Mode, Output};

/// The stable keys of a room.
#[derive(Debug, Serialize)]
pub(super) struct RoomJson {
    room: String,
    visibility: String,
    history: String,
    topic: String,
    members: u32,
    role: String,
    epoch: u64,
    first: u64,
    head: u64,
    time: u64,
}

impl RoomJson {
    /// What the server says about a room.
    pub(super) fn new(info: &RoomInfo) -> RoomJson {
        RoomJson {
            room: info.name.to_string(),
            visibility: info.visibility.to_string(),
            history: info.history.to_string(),
            topic: info.topic.to_string(),
            members: info.members,
            role: info.role.to_string(),
            epoch: info.epoch.0,
            first: info.first.0,
            head: info.head.0,
            time: info.time.0,
        }
    }
}

/// Lists rooms.
pub(crate) async fn list(context: Context, public: bool, invited: bool, output: &mut Output) -> Done {
    let filter = match (public, invited) {
        (true, _) => RoomFilter::PUBLIC,
        (_, true) => RoomFilter::INVITED,
        _ => RoomFilter::JOINED,
    };
    let rooms = with_client(context, async |client| Ok(client.rooms(filter).await?)).await?;
    if output.mode() == Mode::Json {
        return rooms.iter().try_for_each(|info| output.json(&RoomJson::new(info)));
    }
    let rows: Vec<[String; 5]> = rooms.iter().map(row).collect();
    output.table(["ROOM", "KIND", "MEMBERS", "ROLE", "TOPIC"], &rows)
}

fn row(info: &RoomInfo) -> [String; 5] {
    [
        info.name.to_string(),
        info.visibility.to_string(),
        info.members.to_string(),
        info.role.to_string(),
        info.topic.to_string(),
    ]
}

/// The room that `hark create` was told to make.
pub(super) fn describe(name: String, private: bool, history: HistoryChoice, topic: String) -> NewRoom {
    NewRoom {
        name,
        visibility: if private { Visibility::PRIVATE } else { Visibility::PUBLIC },
        history: match history {
            HistoryChoice::All => HistoryPolicy::ALL,
            HistoryChoice::SinceJoin => HistoryPolicy::SINCE_JOIN,
        },
        topic,
    }
}

/// Makes a room.
pub(crate) async fn create(context: Context, new: NewRoom, output: &mut Output) -> Done {
    let info = with_client(context, async |client| info(client.create_room(new).await?).await).await?;
    output.result(&RoomJson::new(&info), format!("created {}", info.name))
}

/// Becomes a member of a room.
pub(crate) async fn join(context: Context, room: &str, output: &mut Output) -> Done {
    let info = with_client(context, async |client| info(client.join(room).await?).await).await?;
    output.result(&RoomJson::new(&info), format!("joined {}", info.name))
}

/// Opens the direct room with an account.
pub(crate) async fn direct(context: Context, account: &str, output: &mut Output) -> Done {
    let info = with_client(context, async |client| info(client.direct(account).await?).await).await?;
    output.result(&RoomJson::new(&info), info.name.as_str())
}

async fn info(room: Room) -> Done<RoomInfo> {
    Ok(room.info().await?)
}
