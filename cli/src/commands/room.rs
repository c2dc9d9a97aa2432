//! `hark members`, `hark invite`, `hark kick`, `hark topic`, `hark role`, `hark retention`, `hark leave`: one room and who is in it.

use hark_sdk::{Retention, RoomRole, Sent};
use serde::Serialize;

use crate::args::RoleChoice;
use crate::commands::rooms::RoomJson;
use crate::commands::{SentJson, with_room};
use crate::context::Context;
use crate::exit::Done;
use crate::output::{Mode, Output};
use crate::record::kept;

/// The stable keys of a member.
#[derive(Debug, Serialize)]
struct MemberJson<'a> {
    account: &'a str,
    display_name: &'a str,
    role: String,
    presence: String,
    joined: u64,
}

/// Lists a room's members.
pub(crate) async fn members(context: Context, room: &str, output: &mut Output) -> Done {
    let members = with_room(context, room, async |room| Ok(room.members().await?)).await?;
    if output.mode() == Mode::Json {
        return members.iter().try_for_each(|member| {
            output.json(&MemberJson {
                account: member.name.as_str(),
                display_name: member.display_name.as_str(),
                role: member.role.to_string(),
                presence: member.presence.to_string(),
                joined: member.joined.0,
            })
        });
    }
    let rows: Vec<[String; 4]> = members
        .iter()
        .map(|member| {
            [
                member.name.to_string(),
                member.display_name.to_string(),
                member.role.to_string(),
                member.presence.to_string(),
            ]
        })
        .collect();
    output.table(["ACCOUNT", "NAME", "ROLE", "PRESENCE"], &rows)
}

/// Lets an account join.
pub(crate) async fn invite(context: Context, room: &str, account: &str, output: &mut Output) -> Done {
    let sent = with_room(context, room, async |room| Ok(room.invite(account).await?)).await?;
    told(output, room, &sent, format!("invited {account} to {room}"))
}

/// Removes a member.
pub(crate) async fn kick(
    context: Context,
    room: &str,
    account: &str,
    reason: &str,
    output: &mut Output,
) -> Done {
    let sent = with_room(context, room, async |room| Ok(room.kick(account, reason).await?)).await?;
    told(output, room, &sent, format!("removed {account} from {room}"))
}

/// The stable keys of what a room keeps.
#[derive(Debug, Serialize)]
struct RetentionJson<'a> {
    room: &'a str,
    max_age_s: u32,
    max_events: u64,
    max_bytes: u64,
}

/// Shows what the room keeps, or changes it.
pub(crate) async fn retention(
    context: Context,
    room: &str,
    retention: Option<Retention>,
    output: &mut Output,
) -> Done {
    if let Some(retention) = retention {
        let sent = with_room(context, room, async |room| Ok(room.set_retention(retention).await?)).await?;
        return told(output, room, &sent, format!("{room} keeps {}", kept(&retention)));
    }
    let info = with_room(context, room, async |room| Ok(room.info().await?)).await?;
    let Retention { max_age_s, max_events, max_bytes } = info.retention;
    let keys = RetentionJson { room, max_age_s, max_events, max_bytes };
    output.result(&keys, kept(&info.retention))
}

/// Changes a member's role.
pub(crate) async fn role(
    context: Context,
    room: &str,
    account: &str,
    role: RoleChoice,
    output: &mut Output,
) -> Done {
    let role = match role {
        RoleChoice::Member => RoomRole::MEMBER,
        RoleChoice::Moderator => RoomRole::MODERATOR,
        RoleChoice::Owner => RoomRole::OWNER,
    };
    let sent = with_room(context, room, async |room| Ok(room.set_role(account, role).await?)).await?;
    told(output, room, &sent, format!("made {account} {role} of {room}"))
}

/// Shows the topic, or changes it to the words that were given.
pub(crate) async fn topic(context: Context, room: &str, words: &[String], output: &mut Output) -> Done {
    if words.is_empty() {
        let info = with_room(context, room, async |room| Ok(room.info().await?)).await?;
        return output.result(&RoomJson::new(&info), info.topic.as_str());
    }
    let text = words.join(" ");
    let sent = with_room(context, room, async |room| Ok(room.set_topic(&text).await?)).await?;
    told(output, room, &sent, format!("changed the topic of {room}"))
}

/// Stops being a member.
pub(crate) async fn leave(context: Context, room: &str, output: &mut Output) -> Done {
    let sent = with_room(context, room, async |room| Ok(room.leave().await?)).await?;
    told(output, room, &sent, format!("left {room}"))
}

fn told(output: &mut Output, room: &str, sent: &Sent, line: String) -> Done {
    output.result(&SentJson::new(room, sent), line)
}
