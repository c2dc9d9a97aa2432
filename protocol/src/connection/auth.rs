//! AUTH, RESUME and AUTHENTICATED: logging in, and taking up a session again.

use crate::limits::{DEVICE_LABEL_BYTES_MAX, DISPLAY_NAME_BYTES_MAX, PASSWORD_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::open::open_enum;
use crate::wire::payload;
use crate::{AccountId, AccountName, DeviceId, Line, Secret};

open_enum! {
    /// How one logs in.
    pub struct AuthMethod(u8) as "auth method" {
        /// The secret is the account's password.
        PASSWORD = 1 "password",
        /// The secret is a device token.
        DEVICE_TOKEN = 2 "device token",
    }
}

open_enum! {
    /// What an account may do on the whole server.
    pub struct AccountRole(u8) as "account role" {
        /// Chat.
        USER = 1 "user",
        /// Chat, and administer the server.
        ADMIN = 2 "admin",
    }
}

open_enum! {
    /// Whether this connection shows its account as present.
    pub struct PresenceMode(u8) as "presence mode" {
        /// It does: somebody is at the other end.
        VISIBLE = 1 "visible",
        /// It does not: a script, a pipe, a backup.
        HIDDEN = 2 "hidden",
    }
}

payload! {
    /// Logs in. Answered by AUTHENTICATED, or by ERROR AUTH_FAILED, which never says what was wrong.
    pub struct Auth: AUTH {
        /// What the secret is.
        pub method: AuthMethod,
        /// Whose password it is.
        pub name: AccountName,
        /// The password or the token.
        pub secret: Secret<PASSWORD_BYTES_MAX>,
        /// With a password: what to call the device that is made and whose token is answered; empty = a
        /// login that ends with the connection. With a device token: ignored.
        pub device_label: Line<DEVICE_LABEL_BYTES_MAX>,
        /// Whether the connection counts for the account's presence.
        pub presence: PresenceMode,
    }
}

payload! {
    /// Who the connection speaks for from now on.
    pub struct Authenticated: AUTHENTICATED {
        /// The account.
        pub account: AccountId,
        /// The account's name.
        pub name: AccountName,
        /// The name that people see.
        pub display_name: Line<DISPLAY_NAME_BYTES_MAX>,
        /// What the account may do on the server.
        pub role: AccountRole,
        /// The device, 0 for a login that ends with the connection.
        pub device: DeviceId,
        /// The token of a device made just now, told this once; otherwise empty.
        pub device_token: Secret<TOKEN_BYTES_MAX>,
        /// Whether a session was taken up again.
        pub resumed: bool,
        /// What takes the session up again after this connection; empty = nothing does, and the client
        /// logs in anew.
        pub session_token: Secret<TOKEN_BYTES_MAX>,
        /// For how many seconds the session outlives its connection; 0 without a session.
        pub session_lifetime_s: u32,
    }
}

payload! {
    /// Takes a session up again, in place of AUTH. Answered by AUTHENTICATED, or by ERROR SESSION_EXPIRED.
    pub struct Resume: RESUME {
        /// The token of the latest AUTHENTICATED of the session.
        pub session_token: Secret<TOKEN_BYTES_MAX>,
        /// Whether the connection counts for the account's presence.
        pub presence: PresenceMode,
    }
}
