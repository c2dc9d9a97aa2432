//! The labels of metrics: closed sets of words, so that a peer can never make a new time series.

/// A word out of a closed set.
pub trait Label: Copy + 'static {
    /// Every word, in the order of [`index`](Label::index).
    const ALL: &'static [Self];

    /// The word as it is exported.
    fn word(self) -> &'static str;

    /// Its place in [`ALL`](Label::ALL).
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* pub enum $name:ident { $( $(#[$vdoc:meta])* $variant:ident = $word:literal, )+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$vdoc])* $variant, )+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$( $name::$variant ),+];
            fn word(self) -> &'static str {
                match self { $( $name::$variant => $word, )+ }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// Why a connection was not served.
    pub enum RefusedBecause {
        /// The server has as many connections as it may.
        Connections = "connections",
        /// The address has as many connections as it may.
        ConnectionsPerAddress = "connections_per_address",
        /// As many connections as may be are on their way to a login.
        Unauthenticated = "unauthenticated",
        /// The address has as many connections as it may that are on their way to a login.
        UnauthenticatedPerAddress = "unauthenticated_per_address",
        /// The account has as many connections as it may.
        ConnectionsPerAccount = "connections_per_account",
        /// The TLS handshake failed or took too long.
        TlsHandshake = "tls_handshake",
        /// The peer did not ask for `hark/1`.
        Alpn = "alpn",
        /// The server is closing.
        ShuttingDown = "shutting_down",
    }
}

label! {
    /// What became of a PUBLISH.
    pub enum PublishOutcome {
        /// It is in the log now.
        Stored = "stored",
        /// It was in the log already.
        Duplicate = "duplicate",
        /// It was refused for good.
        Refused = "refused",
        /// It came too fast.
        Rate = "rate",
        /// One before it was refused and may come again.
        Predecessor = "predecessor_refused",
        /// The store could not take it.
        Unavailable = "unavailable",
    }
}

label! {
    /// What became of an attempt to take a session up again.
    pub enum ResumeOutcome {
        /// It succeeded.
        Done = "done",
        /// The token takes no session up.
        Expired = "expired",
        /// There were too many failures before it.
        Rate = "rate",
        /// It was refused for another reason.
        Failed = "failed",
    }
}

label! {
    /// What became of an attempt to log in.
    pub enum LoginOutcome {
        /// It succeeded.
        Done = "done",
        /// Name and secret did not fit.
        Failed = "failed",
        /// There were too many failures before it.
        Rate = "rate",
        /// Too many passwords were waiting to be hashed.
        Busy = "busy",
    }
}
