//! Changes of the directory, of cursors and of sessions, and the whole of it as it can be read.

use hark_core::ports::{
    AccountRow, Cursor, CursorStore, DeviceRow, Directory, DirectoryError, FoundSession, Hold, NewAccount,
    NewDevice, PasswordHash, SessionChange, SessionId, Sessions, StoreError, TokenHash,
};
use hark_protocol::{AccountId, AccountRole, DeviceId, Epoch, RoomId, Seq, UnixMillis};

use crate::rng::Rng;

/// Devices that a history makes at most; each has its token.
pub const TOKENS_MAX: u64 = 10;

/// Rooms that a history makes at most.
pub const ROOMS_MAX: u64 = 6;

const SETTINGS: [&str; 3] = ["key", "motto", "welcome"];

/// Tokens of sessions that are looked up, the newest.
const SESSION_TOKENS: usize = 12;

/// Long enough that no session lapses.
const LIFETIME_MS: u64 = 1 << 40;

/// A store of everything that is not the log.
pub trait Everything: Directory + CursorStore + Sessions {}

impl<T: Directory + CursorStore + Sessions> Everything for T {}

/// One change.
#[derive(Clone, Debug)]
pub enum DirectoryChange {
    /// A new account with this number in its name.
    AddAccount(u64),
    /// A device with this token.
    AddDevice(AccountId, u64, PasswordHash),
    /// Cursors of a device.
    SaveCursors(Vec<(DeviceId, RoomId, Cursor)>),
    /// A value under a key.
    SetSetting(&'static str, Vec<u8>),
    /// A display name with this number.
    SetDisplayName(AccountId, u64),
    /// A password with this number; the account's devices are forgotten.
    SetPassword(AccountId, u64),
    /// Shut out or let in.
    SetDisabled(AccountId, bool),
    /// A device is forgotten.
    ForgetDevice(DeviceId),
    /// Sessions begin, are taken up and end.
    Sessions(UnixMillis, Vec<SessionChange>),
}

impl DirectoryChange {
    /// A change that makes sense where the directory stands so. `number` is new.
    pub fn any(view: &DirectoryView, number: u64, rng: &mut Rng) -> DirectoryChange {
        let account = rng.pick(&view.accounts).map(|account| (account.id, account.password.clone()));
        let devices: Vec<DeviceId> = view.devices.iter().flatten().map(|device| device.id).collect();
        let Some((account, password)) = account else { return DirectoryChange::AddAccount(number) };
        match (rng.below(100), rng.pick(&devices)) {
            (0..25, Some(device)) => sessions(view, *device, number, rng),
            (25..40, Some(device)) => {
                let rooms = 1 + rng.below(3);
                let cursor = |room| (*device, RoomId(1 + room), Cursor { epoch: Epoch(7), seq: Seq(number) });
                DirectoryChange::SaveCursors((0..rooms).map(cursor).collect())
            }
            (40..45, Some(device)) => DirectoryChange::ForgetDevice(*device),
            (45..65, _) if view.known.tokens < TOKENS_MAX => {
                DirectoryChange::AddDevice(account, view.known.tokens + 1, password)
            }
            (65..75, _) => DirectoryChange::SetDisplayName(account, number),
            (75..78, _) => DirectoryChange::SetPassword(account, number),
            (78..83, _) => DirectoryChange::SetDisabled(account, number.is_multiple_of(2)),
            (83..92, _) => DirectoryChange::AddAccount(number),
            _ => {
                let value = vec![number.to_le_bytes()[0]; 1 + rng.index(3_000)];
                DirectoryChange::SetSetting(rng.pick(&SETTINGS).copied().unwrap_or("key"), value)
            }
        }
    }

    /// Makes the change, and says what the answer was.
    ///
    /// # Errors
    /// The store's.
    pub fn apply(&self, directory: &impl Everything) -> Result<String, StoreError> {
        match self {
            DirectoryChange::AddAccount(number) => text(directory.add_account(account(*number))),
            DirectoryChange::AddDevice(account, token, password) => {
                text(directory.add_device(device(*account, *token, password), 4))
            }
            DirectoryChange::SaveCursors(cursors) => text(directory.save_cursors(cursors).map_err(from)),
            DirectoryChange::SetSetting(key, value) => text(directory.set_setting(key, value).map_err(from)),
            DirectoryChange::SetDisplayName(account, number) => {
                text(directory.set_display_name(*account, parsed(&format!("Cup {number}"))?))
            }
            DirectoryChange::SetPassword(account, number) => {
                text(directory.set_password(*account, PasswordHash(format!("password {number}"))))
            }
            DirectoryChange::SetDisabled(account, disabled) => {
                text(directory.set_disabled(*account, *disabled))
            }
            DirectoryChange::ForgetDevice(device) => text(directory.forget_device(*device).map_err(from)),
            DirectoryChange::Sessions(now, changes) => {
                text(directory.change_sessions(*now, changes).map_err(from))
            }
        }
    }
}

/// Some changes of sessions, one after the other.
fn sessions(view: &DirectoryView, device: DeviceId, number: u64, rng: &mut Rng) -> DirectoryChange {
    let now = UnixMillis(number);
    // That a connection has left its session is in no story: it is not promised for any moment, and nobody can see
    // whether it was noted before a kill.
    let mut change = |turn| {
        let new = session_token(number * 4 + turn);
        let known = rng.pick(&view.known.session_tokens).copied().map(session_token);
        let hold = Hold { session: SessionId(1 + rng.below(8)), generation: 1 + rng.below(3) };
        match (rng.below(10), known) {
            (0..5, Some(token)) => SessionChange::TakeUp { token, new, lifetime_ms: LIFETIME_MS },
            (5 | 6, _) => SessionChange::End(hold),
            _ => SessionChange::Begin { device, token: new, sessions_max: 3, lifetime_ms: LIFETIME_MS },
        }
    };
    DirectoryChange::Sessions(now, (0..2).map(&mut change).collect())
}

fn session_token(number: u64) -> TokenHash {
    let mut token = [0x5e; 32];
    token[..8].copy_from_slice(&number.to_le_bytes());
    TokenHash(token)
}

fn from(error: StoreError) -> DirectoryError {
    DirectoryError::Store(error)
}

/// An answer as text; a failure of the store is no answer.
fn text<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> Result<String, StoreError> {
    match result {
        Err(DirectoryError::Store(error)) => Err(error),
        answer => Ok(format!("{answer:?}")),
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Damaged(format!("the rig made a bad text: {text}")))
}

fn account(number: u64) -> NewAccount {
    NewAccount {
        name: format!("user-{number}").parse().expect("invariant: letters, a hyphen and a number are a name"),
        display_name: format!("User {number}").parse().expect("invariant: letters and a number are a line"),
        role: AccountRole::USER,
        password: PasswordHash("password".into()),
        created: UnixMillis(number),
    }
}

fn token(number: u64) -> TokenHash {
    TokenHash([u8::try_from(number).unwrap_or(u8::MAX); 32])
}

fn device(account: AccountId, number: u64, password: &PasswordHash) -> NewDevice {
    NewDevice {
        account,
        label: "phone".parse().expect("invariant: letters are a line"),
        token: token(number),
        password: password.clone(),
        now: UnixMillis(number),
    }
}

/// What whoever makes the next change knows of the ones before. No part of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Tokens of devices that have been used.
    pub tokens: u64,
    /// The newest tokens of sessions.
    pub session_tokens: Vec<u64>,
}

impl Known {
    /// What is known after one more change.
    #[must_use]
    pub fn after(&self, change: &DirectoryChange) -> Known {
        let mut known = self.clone();
        match change {
            DirectoryChange::AddDevice(..) => known.tokens += 1,
            DirectoryChange::Sessions(now, _) => {
                known.session_tokens.extend([now.0 * 4, now.0 * 4 + 1]);
                let old = known.session_tokens.len().saturating_sub(SESSION_TOKENS);
                known.session_tokens.drain(..old);
            }
            _ => {}
        }
        known
    }
}

/// The whole directory, as far as a history can change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryView {
    /// Accounts by id.
    pub accounts: Vec<AccountRow>,
    /// Devices by the number of their token.
    pub devices: Vec<Option<DeviceRow>>,
    /// Cursors of those devices, by room.
    pub cursors: Vec<Option<Cursor>>,
    /// Values of the settings.
    pub settings: Vec<Option<Vec<u8>>>,
    /// Sessions by the known tokens.
    pub sessions: Vec<Option<FoundSession>>,
    /// What was known when it was read.
    pub known: Known,
}

impl Default for DirectoryView {
    fn default() -> DirectoryView {
        let (devices, settings) = (vec![None; TOKENS_MAX as usize], vec![None; SETTINGS.len()]);
        let (accounts, cursors, sessions) = (Vec::new(), Vec::new(), Vec::new());
        DirectoryView { accounts, devices, cursors, settings, sessions, known: Known::default() }
    }
}

impl DirectoryView {
    /// Reads everything.
    ///
    /// # Errors
    /// The store's.
    pub fn read(directory: &impl Everything, known: Known) -> Result<DirectoryView, StoreError> {
        let accounts = directory.accounts(AccountId(0), 1_000)?;
        // At a time before all others: nothing is noted of this use.
        let find = |number| directory.device(&token(number), UnixMillis(0));
        let devices: Vec<_> = (1..=TOKENS_MAX).map(find).collect::<Result<_, _>>()?;
        let mut cursors = Vec::new();
        for device in devices.iter().flatten() {
            for room in 1..=ROOMS_MAX {
                cursors.push(directory.cursor(device.id, RoomId(room))?);
            }
        }
        let settings = SETTINGS.iter().map(|key| directory.setting(key)).collect::<Result<_, _>>()?;
        let session = |number: &u64| directory.session(&session_token(*number), UnixMillis(0));
        let sessions = known.session_tokens.iter().map(session).collect::<Result<_, _>>()?;
        Ok(DirectoryView { accounts, devices, cursors, settings, sessions, known })
    }
}
