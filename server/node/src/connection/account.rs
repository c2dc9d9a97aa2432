//! AUTH, REGISTER, profiles and the administration of accounts.

use std::net::IpAddr;
use std::sync::Arc;

use hark_core::Refusal;
use hark_core::ports::{AccountRow, DirectoryError, NewAccount, NewDevice};
use hark_protocol::limits::{DISPLAY_NAME_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use hark_protocol::{
    Account, AccountAdd, AccountDisable, AccountId, AccountList, AccountName, AccountPassword, AccountRole,
    Accounts, Auth, AuthMethod, Authenticated, Correlation, DeviceId, Frame, Line, List, Ok as Done,
    PresenceMode, Profile, ProfileSet, Register, Secret,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::lists::{cut, page_limit};
use crate::hub::Hub;
use crate::link::{Answer, Identity, LoggedIn, Order};
use crate::metrics::LoginOutcome;
use crate::password::{PasswordError, Verdict};
use crate::token::{TokenKind, new_token, same_token, token_hash};

/// When a login that could not be decided for want of a free core may be tried again.
const BUSY_RETRY_MS: u32 = 1_000;

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins to decide a login.
    pub(super) fn log_in(&mut self, correlation: Correlation, auth: Auth) {
        let (hub, link, address) = (Arc::clone(&self.hub), Arc::clone(&self.link), self.address);
        self.hub.tasks.spawn(async move {
            let decided = decide(&hub, address, auth).await;
            hub.metrics.login_answered(outcome(&decided));
            link.answer(match decided {
                Ok(who) => Answer::LoggedIn(correlation, Box::new(who)),
                Err(refusal) => Answer::Refused(correlation, refusal),
            });
        });
    }

    /// Begins to make an account for whoever holds the registration token.
    pub(super) fn register(&mut self, correlation: Correlation, register: Register) {
        let (hub, address) = (Arc::clone(&self.hub), self.address);
        self.answer_with(correlation, async move { make_account(&hub, address, register).await });
    }

    /// Begins to change the peer's display name.
    pub(super) fn set_profile(&mut self, correlation: Correlation, set: ProfileSet) {
        let Some(identity) = self.identity.clone() else { return };
        let hub = Arc::clone(&self.hub);
        self.answer_with(correlation, async move {
            let display_name = shown(set.display_name, &identity.name);
            let (account, name) = (identity.account, display_name.clone());
            hub.storage.directory(move |directory| directory.set_display_name(account, name)).await?;
            hub.tell_profile(Profile { account, name: identity.name, display_name }).await;
            Ok(Frame::Ok(Done {}))
        });
    }

    /// Begins a request about accounts.
    pub(super) fn administer(&mut self, correlation: Correlation, frame: Frame) {
        let Some(identity) = self.identity.clone() else { return };
        let hub = Arc::clone(&self.hub);
        self.answer_with(correlation, async move {
            match frame {
                // Everybody may change their own password.
                Frame::AccountPassword(set) if set.name == identity.name => set_password(&hub, set).await,
                _ if identity.role != AccountRole::ADMIN => Err(Refusal::Forbidden("this is for admins")),
                Frame::AccountPassword(set) => set_password(&hub, set).await,
                Frame::AccountAdd(add) => add_account(&hub, add).await,
                Frame::AccountList(list) => accounts(&hub, list).await,
                Frame::AccountDisable(disable) => disable_account(&hub, &identity, disable).await,
                _ => Err(Refusal::Unsupported("this is not about accounts")),
            }
        });
    }

    /// Forgets the device that the connection is logged in with. Until that is done the connection does not
    /// end: who reads its CLOSE can rely on the token being worth nothing.
    pub(super) fn forget_device(&mut self) {
        let Some(device) = self.identity.as_ref().map(|identity| identity.device) else { return };
        self.is_preparing = true;
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            hub.cursors.lock().forget(device);
            let forgotten = hub
                .storage
                .directory(move |directory| directory.forget_device(device).map_err(DirectoryError::from))
                .await;
            if let Err(error) = forgotten {
                tracing::error!(%error, device = device.0, "a device that logged out could not be forgotten");
            }
            link.answer(Answer::Forgotten);
        });
    }

    /// Runs `work` elsewhere, and gives what comes of it as the final answer.
    fn answer_with(
        &self,
        correlation: Correlation,
        work: impl Future<Output = Result<Frame, Refusal>> + Send + 'static,
    ) {
        let link = Arc::clone(&self.link);
        self.hub.tasks.spawn(async move {
            link.answer(match work.await {
                Ok(frame) => Answer::Reply(correlation, frame),
                Err(refusal) => Answer::Refused(correlation, refusal),
            });
        });
    }
}

async fn decide(hub: &Hub, address: IpAddr, auth: Auth) -> Result<LoggedIn, Refusal> {
    hub.logins.check(&auth.name, address, hub.now_ns())?;
    let (name, presence) = (auth.name.clone(), auth.presence);
    if !presence.is_known() {
        return Err(Refusal::Unsupported("this presence mode is unknown"));
    }
    let decided = match auth.method {
        AuthMethod::PASSWORD => by_password(hub, auth).await,
        AuthMethod::DEVICE_TOKEN => by_token(hub, &auth).await,
        _ => Err(Refusal::Unsupported("this way to log in is unknown")),
    };
    match &decided {
        Ok(_) => hub.logins.succeeded(&name),
        Err(Refusal::AuthFailed) => hub.logins.failed(&name, address, hub.now_ns()),
        Err(_) => {}
    }
    decided.map(|answer| LoggedIn { answer, presence })
}

async fn by_password(hub: &Hub, auth: Auth) -> Result<Authenticated, Refusal> {
    let row = account_named(hub, auth.name).await?;
    let stored = row.as_ref().map(|row| row.password.clone());
    let verdict =
        hub.passwords.verify(stored, auth.secret).await.map_err(|error| password_refusal(&error))?;
    let row = row.filter(|row| verdict == Verdict::Right && !row.disabled).ok_or(Refusal::AuthFailed)?;
    if auth.device_label.as_str().is_empty() {
        return Ok(authenticated(row, DeviceId(0), Secret::default()));
    }
    let token = new_token(TokenKind::Device, &*hub.entropy.0);
    let device = NewDevice {
        account: row.id,
        label: auth.device_label,
        token: token_hash(token.expose()),
        now: hub.clock.0.now(),
    };
    let max = hub.limits().devices_per_account_max;
    let device = hub.storage.directory(move |directory| directory.add_device(device, max)).await?;
    Ok(authenticated(row, device, token))
}

async fn by_token(hub: &Hub, auth: &Auth) -> Result<Authenticated, Refusal> {
    let (hash, now) = (token_hash(auth.secret.expose()), hub.clock.0.now());
    let found = hub
        .storage
        .directory(move |directory| {
            let Some(device) = directory.device(&hash, now)? else { return Ok(None) };
            let accounts = directory.accounts_by_id(&[device.account])?;
            Ok(accounts.into_iter().next().map(|row| (device, row)))
        })
        .await?;
    let is_good = |(_, row): &(_, AccountRow)| row.name == auth.name && !row.disabled;
    let (device, row) = found.filter(is_good).ok_or(Refusal::AuthFailed)?;
    Ok(authenticated(row, device.id, Secret::default()))
}

fn authenticated(
    row: AccountRow,
    device: DeviceId,
    device_token: Secret<{ hark_protocol::limits::TOKEN_BYTES_MAX }>,
) -> Authenticated {
    Authenticated {
        account: row.id,
        name: row.name,
        display_name: row.display_name,
        role: row.role,
        device,
        device_token,
    }
}

async fn account_named(hub: &Hub, name: AccountName) -> Result<Option<AccountRow>, Refusal> {
    hub.storage.directory(move |directory| directory.account(&name).map_err(DirectoryError::from)).await
}

async fn make_account(hub: &Hub, address: IpAddr, register: Register) -> Result<Frame, Refusal> {
    if !hub.session.registration {
        return Err(Refusal::Forbidden("this server does not let people register"));
    }
    hub.logins.check(&register.name, address, hub.now_ns())?;
    let expected = hub.settings.registration_token.as_ref();
    if !expected.is_some_and(|expected| same_token(expected, &token_hash(register.token.expose()))) {
        hub.logins.failed(&register.name, address, hub.now_ns());
        return Err(Refusal::AuthFailed);
    }
    let display_name = shown(register.display_name, &register.name);
    insert_account(hub, register.name, register.password, display_name, AccountRole::USER).await?;
    hub.metrics.registered();
    Ok(Frame::Ok(Done {}))
}

async fn add_account(hub: &Hub, add: AccountAdd) -> Result<Frame, Refusal> {
    if !add.role.is_known() {
        return Err(Refusal::Unsupported("this account role is unknown"));
    }
    let display_name = shown(Line::default(), &add.name);
    insert_account(hub, add.name, add.password, display_name, add.role).await?;
    Ok(Frame::Ok(Done {}))
}

async fn insert_account(
    hub: &Hub,
    name: AccountName,
    password: Secret<PASSWORD_BYTES_MAX>,
    display_name: Line<DISPLAY_NAME_BYTES_MAX>,
    role: AccountRole,
) -> Result<AccountId, Refusal> {
    long_enough(&password)?;
    let password = hub.passwords.hash(password).await.map_err(|error| password_refusal(&error))?;
    let account = NewAccount { name, display_name, role, password, created: hub.clock.0.now() };
    hub.storage.directory(move |directory| directory.add_account(account)).await
}

async fn set_password(hub: &Hub, set: AccountPassword) -> Result<Frame, Refusal> {
    long_enough(&set.password)?;
    let row = account_named(hub, set.name).await?.ok_or(Refusal::NotFound("account"))?;
    let password = hub.passwords.hash(set.password).await.map_err(|error| password_refusal(&error))?;
    hub.storage.directory(move |directory| directory.set_password(row.id, password)).await?;
    Ok(Frame::Ok(Done {}))
}

async fn disable_account(hub: &Hub, by: &Identity, disable: AccountDisable) -> Result<Frame, Refusal> {
    if disable.name == by.name {
        return Err(Refusal::Forbidden("an admin can not disable itself"));
    }
    let row = account_named(hub, disable.name).await?.ok_or(Refusal::NotFound("account"))?;
    hub.storage.directory(move |directory| directory.set_disabled(row.id, disable.disabled)).await?;
    if disable.disabled {
        hub.order_account(row.id, &Order::Disabled);
    }
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
fn shown(chosen: Line<DISPLAY_NAME_BYTES_MAX>, name: &AccountName) -> Line<DISPLAY_NAME_BYTES_MAX> {
    if chosen.as_str().trim().is_empty() { Line::lossy(name.as_str()) } else { chosen }
}

fn password_refusal(error: &PasswordError) -> Refusal {
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

fn outcome(decided: &Result<LoggedIn, Refusal>) -> LoginOutcome {
    match decided {
        Ok(_) => LoginOutcome::Done,
        Err(Refusal::Rate { value: 0, .. }) => LoginOutcome::Busy,
        Err(Refusal::Rate { .. }) => LoginOutcome::Rate,
        Err(_) => LoginOutcome::Failed,
    }
}

/// Whether a login is to be shown to others.
pub(super) fn is_visible(identity: &Identity) -> bool {
    identity.presence == PresenceMode::VISIBLE
}
