//! ROOM_LIST, ROOM_GET and ROOM_MEMBERS: finding rooms, and who is in them.

use hark_core::Refusal;
use hark_core::ports::{AccountRow, DirectoryError, MemberRow, RoomListing, RoomQuery};
use hark_core::room::Room as RoomState;
use hark_protocol::limits::LIST_PAGE_MAX;
use hark_protocol::{
    AccountId, List, Member, Members, Room, RoomFilter, RoomGet, RoomList, RoomMembers, RoomSummary, Rooms,
};

use super::change::room_named;
use crate::hub::Hub;
use crate::link::Identity;

/// How many elements a page has: what was asked for, within what a page holds.
pub(super) fn page_limit(asked: u16) -> usize {
    if asked == 0 { LIST_PAGE_MAX } else { usize::from(asked).min(LIST_PAGE_MAX) }
}

/// Cuts off the one element too many by which it is known that there are more.
pub(super) fn cut<T>(mut elements: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let more = elements.len() > limit;
    elements.truncate(limit);
    (elements, more)
}

pub(super) async fn rooms(hub: &Hub, account: AccountId, list: RoomList) -> Result<Rooms, Refusal> {
    let query = match list.filter {
        RoomFilter::JOINED => RoomQuery::Joined(account),
        RoomFilter::PUBLIC => RoomQuery::Public(account),
        RoomFilter::INVITED => RoomQuery::Invited(account),
        _ => return Err(Refusal::Unsupported("this filter is unknown")),
    };
    let (limit, after) = (page_limit(list.limit), list.after);
    let found = hub.storage.read(move |reader| reader.rooms(query, after, limit + 1)).await?;
    let (found, more) = cut(found, limit);
    Ok(Rooms { rooms: List::truncated(found.into_iter().map(summary).collect()), more })
}

/// A room of a list: all of it as of the moment at which the store was asked.
fn summary(listing: RoomListing) -> RoomSummary {
    RoomSummary {
        room: listing.row.id,
        name: listing.row.name,
        visibility: listing.row.visibility,
        history: listing.row.history,
        topic: listing.row.topic,
        members: listing.members,
        role: listing.role,
        epoch: listing.row.epoch,
        first: listing.row.first,
        head: listing.row.head,
        time: listing.row.time,
        retention: listing.row.retention,
    }
}

pub(super) async fn room(hub: &Hub, identity: &Identity, get: RoomGet) -> Result<Room, Refusal> {
    let account = identity.account;
    let entry = room_named(hub, &identity.name, get.name).await?;
    entry.look(|room| match room.is_visible_to(account) {
        true => Ok(Room { room: summary_of(room, account) }),
        false => Err(Refusal::NotFound("room")),
    })
}

fn summary_of(room: &RoomState, account: AccountId) -> RoomSummary {
    let row = room.row();
    RoomSummary {
        room: row.id,
        name: row.name.clone(),
        visibility: row.visibility,
        history: row.history,
        topic: row.topic.clone(),
        members: u32::try_from(room.member_count()).unwrap_or(u32::MAX),
        role: room.role(account),
        epoch: row.epoch,
        first: row.first,
        head: row.head,
        time: row.time,
        retention: row.retention,
    }
}

pub(super) async fn members(hub: &Hub, account: AccountId, ask: RoomMembers) -> Result<Members, Refusal> {
    let limit = page_limit(ask.limit);
    let entry = hub.room(ask.room).await?;
    let rows: Vec<MemberRow> = entry.look(|room| {
        room.view(account)?;
        Ok::<_, Refusal>(room.members_after(ask.after).take(limit + 1).copied().collect())
    })?;
    let (rows, more) = cut(rows, limit);
    let ids: Vec<AccountId> = rows.iter().map(|row| row.account).collect();
    let accounts = hub
        .storage
        .directory(move |directory| directory.accounts_by_id(&ids).map_err(DirectoryError::from))
        .await?;
    let members = rows.iter().filter_map(|row| member(hub, row, &accounts)).collect();
    Ok(Members { room: ask.room, members: List::truncated(members), more })
}

fn member(hub: &Hub, row: &MemberRow, accounts: &[AccountRow]) -> Option<Member> {
    let account = accounts.iter().find(|account| account.id == row.account)?;
    Some(Member {
        account: row.account,
        name: account.name.clone(),
        display_name: account.display_name.clone(),
        role: row.role,
        joined: row.joined,
        presence: hub.presences.state(row.account),
    })
}
