//! Profiles and the administration of accounts.

use hark_core::Refusal;
use hark_core::ports::{AccountRow, DirectoryError, NewAccount};
use hark_protocol::limits::{DISPLAY_NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use hark_protocol::{
    Account, AccountAdd, AccountDisable, AccountId, AccountList, AccountName, AccountPassword, AccountRole,
    Accounts, Frame, Line, List, Ok as Done, Profile, ProfileSet, Secret,
};

use super::lists::{cut, page_limit};
use crate::hub::Hub;
use crate::link::Identity;
use crate::password::PasswordError;

/// When a login that could not be decided for want of a free core may be tried again.
const BUSY_RETRY_MS: u32 = 1_000;

/// Changes the peer's display name.
pub(super) async fn set_profile(hub: &Hub, identity: &Identity, set: ProfileSet) -> Result<Frame, Refusal> {
    let display_name = shown(set.display_name, &identity.name);
    let (account, name) = (identity.account, display_name.clone());
    hub.storage.change_directory(move |directory| directory.set_display_name(account, name)).await?;
    hub.tell_profile(Profile { account, name: identity.name.clone(), display_name }).await;
    Ok(Frame::Ok(Done {}))
}

/// Carries out a request about accounts.
pub(super) async fn administer(hub: &Hub, identity: &Identity, frame: Frame) -> Result<Frame, Refusal> {
    match frame {
        // Everybody may change their own password.
        Frame::AccountPassword(set) if set.name == identity.name => set_password(hub, set).await,
        _ if identity.role != AccountRole::ADMIN => Err(Refusal::Forbidden("this is for admins")),
        Frame::AccountPassword(set) => set_password(hub, set).await,
        Frame::AccountAdd(add) => add_account(hub, add).await,
        Frame::AccountList(list) => accounts(hub, list).await,
        Frame::AccountDisable(disable) => disable_account(hub, identity, disable).await,
        _ => Err(Refusal::Unsupported("this is not about accounts")),
    }
}

/// The account of that name.
pub(super) async fn account_named(hub: &Hub, name: AccountName) -> Result<Option<AccountRow>, Refusal> {
    hub.storage.directory(move |directory| directory.account(&name).map_err(DirectoryError::from)).await
}

async fn add_account(hub: &Hub, add: AccountAdd) -> Result<Frame, Refusal> {
    if !add.role.is_known() {
        return Err(Refusal::Unsupported("this account role is unknown"));
    }
    let display_name = shown(Line::default(), &add.name);
    insert_account(hub, add.name, add.password, display_name, add.role).await?;
    Ok(Frame::Ok(Done {}))
}

/// Makes an account, once its password has been hashed.
pub(super) async fn insert_account(
    hub: &Hub,
    name: AccountName,
    password: Secret<PASSWORD_BYTES_MAX>,
    display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    role: AccountRole,
) -> Result<AccountId, Refusal> {
    long_enough(&password)?;
    let password = hub.passwords.hash(password).await.map_err(|error| password_refusal(&error))?;
    let account = NewAccount { name, display_name, role, password, created: hub.clock.0.now() };
    hub.storage.change_directory(move |directory| directory.add_account(account)).await
}

async fn set_password(hub: &Hub, set: AccountPassword) -> Result<Frame, Refusal> {
    long_enough(&set.password)?;
    let row = account_named(hub, set.name).await?.ok_or(Refusal::NotFound("account"))?;
    let password = hub.passwords.hash(set.password).await.map_err(|error| password_refusal(&error))?;
    hub.storage.change_directory(move |directory| directory.set_password(row.id, password)).await?;
    Ok(Frame::Ok(Done {}))
}

async fn disable_account(hub: &Hub, by: &Identity, disable: AccountDisable) -> Result<Frame, Refusal> {
    if disable.name == by.name {
        return Err(Refusal::Forbidden("an admin can not disable itself"));
    }
    let row = account_named(hub, disable.name).await?.ok_or(Refusal::NotFound("account"))?;
    hub.storage.change_directory(move |directory| directory.set_disabled(row.id, disable.disabled)).await?;
    hub.set_disabled(row.id, disable.disabled);
    Ok(Frame::Ok(Done {}))
}

async fn accounts(hub: &Hub, list: AccountList) -> Result<Frame, Refusal> {
    let (limit, after) = (page_limit(list.limit), list.after);
    let rows = hub
        .storage
        .directory(move |directory| directory.accounts(after, limit + 1).map_err(DirectoryError::from))
        .await?;
    let (rows, more) = cut(rows, limit);
    let accounts = rows
        .into_iter()
        .map(|row| Account {
            account: row.id,
            name: row.name,
            display_name: row.display_name,
            role: row.role,
            disabled: row.disabled,
            created: row.created,
        })
        .collect();
    Ok(Frame::Accounts(Accounts { accounts: List::truncated(accounts), more }))
}

fn long_enough(password: &Secret<PASSWORD_BYTES_MAX>) -> Result<(), Refusal> {
    match password.expose().len() >= PASSWORD_BYTES_MIN {
        true => Ok(()),
        false => Err(Refusal::Malformed("a password has at least 8 bytes")),
    }
}

/// The name that people see: what was chosen, or else the account's own.
pub(super) fn shown(
    chosen: Line<DISPLAY_NAME_BYTES_MAX>,
    name: &AccountName,
) -> Line<DISPLAY_NAME_BYTES_MAX> {
    if chosen.as_str().trim().is_empty() { Line::lossy(name.as_str()) } else { chosen }
}

/// What a peer is told when its password could not be checked.
pub(super) fn password_refusal(error: &PasswordError) -> Refusal {
    match error {
        PasswordError::Busy => Refusal::Rate {
            limit: hark_protocol::LimitId::LOGIN_RATE,
            value: 0,
            retry_after_ms: BUSY_RETRY_MS,
        },
        PasswordError::Fault(why) => {
            tracing::error!(why, "a password could not be checked");
            Refusal::Internal
        }
    }
}
