//! AUTH, RESUME, REGISTER and logging out: who a connection speaks for.

use std::net::IpAddr;
use std::sync::Arc;

use hark_core::Refusal;
use hark_core::ports::{AccountRow, DirectoryError, FoundSession, NewDevice, SessionChange, SessionOutcome};
use hark_protocol::limits::TOKEN_BYTES_MAX;
use hark_protocol::{
    AccountRole, Auth, AuthMethod, Authenticated, Correlation, DeviceId, Frame, Ok as Done, PresenceMode,
    Register, Resume, Secret,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Connection;
use super::account::{account_named, insert_account, password_refusal, shown};
use crate::hub::{ConnectionId, Hub};
use crate::link::{Answer, Identity, Link, LoggedIn, Order};
use crate::metrics::{LoginOutcome, ResumeOutcome};
use crate::password::Verdict;
use crate::seat::Seat;
use crate::token::{TokenKind, new_token, same_token, token_hash};

/// A connection that wants to log in, as whoever decides it sees it.
struct Candidate {
    hub: Arc<Hub>,
    link: Arc<Link>,
    connection: ConnectionId,
    address: IpAddr,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Begins to decide a login.
    pub(super) fn log_in(&mut self, correlation: Correlation, auth: Auth) {
        let candidate = self.candidate();
        self.hub.tasks.spawn(async move {
            let decided = candidate.decide(auth).await;
            candidate.hub.metrics.login_answered(outcome(&decided));
            candidate.answer(correlation, decided);
        });
    }

    /// Begins to take a session up again.
    pub(super) fn resume(&mut self, correlation: Correlation, resume: Resume) {
        let candidate = self.candidate();
        self.hub.tasks.spawn(async move {
            let decided = candidate.take_up(resume).await;
            candidate.hub.metrics.resume_answered(resume_outcome(&decided));
            candidate.answer(correlation, decided);
        });
    }

    fn candidate(&self) -> Candidate {
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        Candidate { hub, link, connection: self.id, address: self.address }
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

    /// Forgets the device that the connection is logged in with, and its sessions with it. Until that is done the
    /// connection does not end in good order: who reads its CLOSE can rely on the tokens being worth nothing.
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

    /// Ends the connection's session, with the same promise.
    pub(super) fn end_session(&mut self) {
        let Some(hold) = self.seat.as_ref().and_then(Seat::held) else { return };
        self.is_preparing = true;
        let (hub, link) = (Arc::clone(&self.hub), Arc::clone(&self.link));
        self.hub.tasks.spawn(async move {
            match hub.sessions.change(SessionChange::End(hold)).await {
                // A good CLOSE would say that the session is over, and somebody else has it.
                Ok(SessionOutcome::Replaced) => link.order(Order::SessionReplaced),
                Ok(_) => link.answer(Answer::Forgotten(Ok(()))),
                Err(error) => {
                    tracing::error!(%error, session = hold.session.0, "a session could not be ended");
                    link.answer(Answer::Forgotten(Err(())));
                }
            }
        });
    }
}

impl Candidate {
    fn answer(&self, correlation: Correlation, decided: Result<LoggedIn, Refusal>) {
        self.link.answer(match decided {
            Ok(who) => Answer::LoggedIn(correlation, Box::new(who)),
            Err(refusal) => Answer::Refused(correlation, refusal),
        });
    }

    async fn decide(&self, auth: Auth) -> Result<LoggedIn, Refusal> {
        let (hub, address) = (&self.hub, self.address);
        hub.logins.check_address(address, hub.now_ns())?;
        let (name, method, presence) = (auth.name.clone(), auth.method, known(auth.presence)?);
        let decided = match method {
            AuthMethod::PASSWORD => {
                hub.logins.check_account(&name, address, hub.now_ns())?;
                self.by_password(auth).await
            }
            AuthMethod::DEVICE_TOKEN => self.by_token(&auth).await,
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
        let (mut answer, mut seat) = decided?;
        self.begin(&mut answer, &mut seat).await?;
        Ok(LoggedIn { answer, presence, seat })
    }

    async fn by_password(&self, auth: Auth) -> Result<(Authenticated, Seat), Refusal> {
        let hub = &self.hub;
        let row = account_named(hub, auth.name).await?;
        let stored = row.as_ref().map(|row| row.password.clone());
        let verdict =
            hub.passwords.verify(stored, auth.secret).await.map_err(|error| password_refusal(&error))?;
        let row = row.filter(|row| verdict == Verdict::Right && !row.disabled).ok_or(Refusal::AuthFailed)?;
        // Before a device is made, for which an older one may have to make way.
        let seat = Seat::take(hub, row.id, (self.connection, &self.link), None)?;
        if auth.device_label.as_str().is_empty() {
            return Ok((authenticated(row, DeviceId(0), Secret::default()), seat));
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
        Ok((authenticated(row, device, token), seat))
    }

    async fn by_token(&self, auth: &Auth) -> Result<(Authenticated, Seat), Refusal> {
        let (hub, hash) = (&self.hub, token_hash(auth.secret.expose()));
        let now = hub.clock.0.now();
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
        let seat = Seat::take(hub, row.id, (self.connection, &self.link), None)?;
        Ok((authenticated(row, device.id, Secret::default()), seat))
    }

    /// Begins a session for a login of a device, unless all that the device may have are connected.
    async fn begin(&self, answer: &mut Authenticated, seat: &mut Seat) -> Result<(), Refusal> {
        if answer.device == DeviceId(0) {
            return Ok(());
        }
        let token = new_token(TokenKind::Session, &*self.hub.entropy.0);
        let begin = SessionChange::Begin {
            device: answer.device,
            token: token_hash(token.expose()),
            sessions_max: self.hub.limits().sessions_per_device_max,
            lifetime_ms: self.lifetime_ms(),
        };
        match self.hub.sessions.change(begin).await? {
            SessionOutcome::Held(hold) => {
                seat.hold(hold, &self.link);
                self.hand_out(answer, token);
                Ok(())
            }
            SessionOutcome::Full => Ok(()),
            // The device was forgotten, or its account shut out, since it was looked up.
            SessionOutcome::Gone | SessionOutcome::Done | SessionOutcome::Replaced => {
                Err(Refusal::AuthFailed)
            }
        }
    }

    async fn take_up(&self, resume: Resume) -> Result<LoggedIn, Refusal> {
        // A token is not guessed, so tries with wrong ones are not held against the address: after a restore all
        // tokens of a whole house may have lapsed, and each of its clients has to log in anew.
        let presence = known(resume.presence)?;
        let (answer, seat) = self.take_up_by(&resume.session_token).await?;
        Ok(LoggedIn { answer, presence, seat })
    }

    async fn take_up_by(&self, shown: &Secret<TOKEN_BYTES_MAX>) -> Result<(Authenticated, Seat), Refusal> {
        let (hub, token) = (&self.hub, token_hash(shown.expose()));
        let found: FoundSession = hub.sessions.find(token).await?.ok_or(Refusal::SessionExpired)?;
        let row = hub
            .storage
            .directory(move |directory| Ok(directory.accounts_by_id(&[found.account])?.pop()))
            .await?
            .ok_or(Refusal::SessionExpired)?;
        let seat = Seat::take(hub, row.id, (self.connection, &self.link), Some(found.id));
        let mut seat = seat.map_err(|refusal| match refusal {
            Refusal::AuthFailed => Refusal::SessionExpired,
            other => other,
        })?;
        let mut answer = authenticated(row, found.device, Secret::default());
        let next = new_token(TokenKind::Session, &*hub.entropy.0);
        let (new, lifetime_ms) = (token_hash(next.expose()), self.lifetime_ms());
        match hub.sessions.change(SessionChange::TakeUp { token, new, lifetime_ms }).await? {
            SessionOutcome::Held(hold) => seat.hold(hold, &self.link),
            _ => return Err(Refusal::SessionExpired),
        }
        self.hand_out(&mut answer, next);
        answer.resumed = true;
        Ok((answer, seat))
    }

    fn hand_out(&self, answer: &mut Authenticated, token: Secret<TOKEN_BYTES_MAX>) {
        answer.session_token = token;
        answer.session_lifetime_s = u32::try_from(self.hub.session_lifetime.as_secs()).unwrap_or(u32::MAX);
    }

    fn lifetime_ms(&self) -> u64 {
        u64::try_from(self.hub.session_lifetime.as_millis()).unwrap_or(u64::MAX)
    }
}

fn known(presence: PresenceMode) -> Result<PresenceMode, Refusal> {
    match presence.is_known() {
        true => Ok(presence),
        false => Err(Refusal::Unsupported("this presence mode is unknown")),
    }
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

fn resume_outcome(decided: &Result<LoggedIn, Refusal>) -> ResumeOutcome {
    match decided {
        Ok(_) => ResumeOutcome::Done,
        Err(Refusal::SessionExpired) => ResumeOutcome::Expired,
        Err(Refusal::Rate { .. }) => ResumeOutcome::Rate,
        Err(_) => ResumeOutcome::Failed,
    }
}

/// Whether a login is to be shown to others.
pub(super) fn is_visible(identity: &Identity) -> bool {
    identity.presence == PresenceMode::VISIBLE
}
