//! Who is in each room by its control events, and by its table.

use std::collections::{BTreeMap, BTreeSet};

use hark_protocol::{AccountId, Event, JoinBody, KickBody, Kind, Reader, RoleBody, RoomId, RoomRole, Wire};
use rusqlite::Connection;

use super::Report;
use crate::rows::uint;

/// What a room's control events say of the accounts that they are about.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// `None`: the account is not a member.
    told: BTreeMap<AccountId, Option<(RoomRole, u64)>>,
    /// A control event was not understood, so that nothing can be told.
    is_unclear: bool,
}

impl Members {
    pub(super) fn on_event(&mut self, event: &Event) {
        let body = event.body.as_ref();
        match event.kind {
            Kind::JOIN => match parse::<JoinBody>(body) {
                Some(join) => drop(self.told.insert(event.author, Some((join.role, event.seq.0)))),
                None => self.is_unclear = true,
            },
            Kind::LEAVE => drop(self.told.insert(event.author, None)),
            Kind::KICK => match parse::<KickBody>(body) {
                Some(kick) => drop(self.told.insert(kick.account, None)),
                None => self.is_unclear = true,
            },
            Kind::ROLE => match parse::<RoleBody>(body) {
                Some(role) => {
                    if let Some(Some(member)) = self.told.get_mut(&role.account) {
                        member.0 = role.role;
                    }
                }
                None => self.is_unclear = true,
            },
            _ => {}
        }
    }
}

fn parse<T: Wire>(body: &[u8]) -> Option<T> {
    T::take(&mut Reader::new(bytes::Bytes::copy_from_slice(body))).ok()
}

/// Compares the tables with what the events say: for each room its members by its events, the seq with which its
/// log begins, and whether something in it can not be read.
pub(super) fn check(
    log: &Connection,
    directory: Option<&Connection>,
    rooms: impl Iterator<Item = (RoomId, Members, u64, bool)>,
    report: &mut Report<'_>,
) -> rusqlite::Result<()> {
    let accounts = directory.map(accounts).transpose()?;
    let mut select = log.prepare("SELECT account, role, joined FROM members WHERE room = ?1")?;
    let mut counted = log.prepare("SELECT members FROM rooms WHERE id = ?1")?;
    for (room, mut members, first, is_torn) in rooms {
        let id = crate::rows::ordinal(room.0);
        let mut rows = select.query([id])?;
        let mut count = 0_u64;
        while let Some(row) = rows.next()? {
            count += 1;
            let (account, role, joined) = (AccountId(uint(row, 0)?), RoomRole(row.get(1)?), uint(row, 2)?);
            if accounts.as_ref().is_some_and(|accounts| !accounts.contains(&account)) {
                report.find("log.db", Some(room), None, format!("member {account} has no account"));
            }
            let is_unsure = is_torn || members.is_unclear;
            let told = members.told.remove(&account);
            let agrees = match told {
                Some(told) => told == Some((role, joined)),
                // Its events are older than what the room keeps.
                None => joined < first,
            };
            if !agrees && !is_unsure {
                let what = format!("member {account} is not what the control events say");
                report.find("log.db", Some(room), None, what);
            }
        }
        let missing = members.told.iter().filter(|(_, told)| told.is_some());
        if !is_torn && !members.is_unclear {
            for (account, _) in missing {
                let what = format!("account {account} joined and is not among the members");
                report.find("log.db", Some(room), None, what);
            }
        }
        if counted.query_row([id], |row| uint(row, 0))? != count {
            report.find("log.db", Some(room), None, "the number of members is wrong");
        }
    }
    Ok(())
}

fn accounts(directory: &Connection) -> rusqlite::Result<BTreeSet<AccountId>> {
    let mut select = directory.prepare("SELECT id FROM accounts")?;
    let accounts = select.query_map([], |row| Ok(AccountId(uint(row, 0)?)))?;
    accounts.collect()
}
