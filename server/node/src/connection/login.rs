//! AUTH, REGISTER and logging out: who a connection speaks for.

use std::net::IpAddr;
use std::sync::Arc;

use hark_core::Refusal;
use hark_core::ports::{AccountRow, DirectoryError, NewDevice};
use hark_protocol::limits::TOKEN_BYTES_MAX;
use hark_protocol::{
    AccountRole, Auth, AuthMethod, Authenticated, Correlation, DeviceId, Frame, Ok as Done, PresenceMode,
    Register, Secret,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::account::{account_named, insert_account, password_refusal, shown};
use crate::hub::Hub;
use crate::link::{Answer, Identity, LoggedIn};
use crate::metrics::LoginOutcome;
use crate::password::Verdict;
use crate::token::{TokenKind, new_token, same_token, token_hash};

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
        let (hub, link, address) = (Arc::clone(&self.hub), Arc::clone(&self.link), self.address);
        self.hub.tasks.spawn(async move {
            link.answer(match make_account(&hub, address, register).await {
                Ok(frame) => Answer::Reply(correlation, frame),
                Err(refusal) => Answer::Refused(correlation, refusal),
            });
        });
    }

    /// Forgets the device that the connection is logged in with. Until that is done the connection does not
    /// end in good order: who reads its CLOSE can rely on the token being worth nothing.
    pub(super) fn forget_device(&mut self) {
        let Some(device) = self.identity.as_ref().map(|identity| identity.device) else { return };
        self.is_preparing = true;
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            hub.cursors.lock().forget(device);
            let forgotten = hub
                .storage
                .change_directory(move |directory| {
                    directory.forget_device(device).map_err(DirectoryError::from)
                })
                .await;
            if let Err(error) = &forgotten {
                tracing::error!(%error, device = device.0, "a device that logged out could not be forgotten");
            }
            link.answer(Answer::Forgotten(forgotten.map_err(|_| ())));
        });
    }
}

async fn decide(hub: &Hub, address: IpAddr, auth: Auth) -> Result<LoggedIn, Refusal> {
    hub.logins.check_address(address, hub.now_ns())?;
    let (name, method, presence) = (auth.name.clone(), auth.method, auth.presence);
    if !presence.is_known() {
        return Err(Refusal::Unsupported("this presence mode is unknown"));
    }
    let decided = match method {
        AuthMethod::PASSWORD => {
            hub.logins.check_account(&name, address, hub.now_ns())?;
            by_password(hub, auth).await
        }
        AuthMethod::DEVICE_TOKEN => by_token(hub, &auth).await,
        _ => Err(Refusal::Unsupported("this way to log in is unknown")),
    };
    match &decided {
        Ok(_) => hub.logins.succeeded(&name, address, hub.now_ns()),
        Err(Refusal::AuthFailed) => {
            hub.logins.charge_address(address, hub.now_ns());
            if method == AuthMethod::PASSWORD {
                hub.logins.charge_account(&name, hub.now_ns());
            }
        }
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
    // Before a device is made, for which an older one may have to make way.
    hub.has_place(row.id)?;
    if auth.device_label.as_str().is_empty() {
        return Ok(authenticated(row, DeviceId(0), Secret::default()));
    }
    let token = new_token(TokenKind::Device, &*hub.entropy.0);
    let device = NewDevice {
        account: row.id,
        label: auth.device_label,
        token: token_hash(token.expose()),
        password: row.password.clone(),
        now: hub.clock.0.now(),
    };
    let max = hub.limits().devices_per_account_max;
    let device = hub.storage.change_directory(move |directory| directory.add_device(device, max)).await?;
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

fn authenticated(row: AccountRow, device: DeviceId, device_token: Secret<TOKEN_BYTES_MAX>) -> Authenticated {
    Authenticated {
        account: row.id,
        name: row.name,
        display_name: row.display_name,
        role: row.role,
        device,
        device_token,
        resumed: false,
        session_token: Secret::default(),
        session_lifetime_s: 0,
    }
}

async fn make_account(hub: &Hub, address: IpAddr, register: Register) -> Result<Frame, Refusal> {
    if !hub.session.registration {
        return Err(Refusal::Forbidden("this server does not let people register"));
    }
    hub.logins.check_address(address, hub.now_ns())?;
    let expected = hub.settings.registration_token.as_ref();
    if !expected.is_some_and(|expected| same_token(expected, &token_hash(register.token.expose()))) {
        hub.logins.charge_address(address, hub.now_ns());
        return Err(Refusal::AuthFailed);
    }
    let display_name = shown(register.display_name, &register.name);
    insert_account(hub, register.name, register.password, display_name, AccountRole::USER).await?;
    // One token must not make any number of accounts in no time.
    hub.logins.charge_address(address, hub.now_ns());
    hub.metrics.registered();
    Ok(Frame::Ok(Done {}))
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
