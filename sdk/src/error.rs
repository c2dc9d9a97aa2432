//! What can go wrong: one error type over one kind per operation, each of which says whether a retry makes sense.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use hark_protocol::{ErrorCode, LimitId};

use crate::outbox::OutboxProblem;
use crate::tls::TlsProblem;

/// An operation failed: its kind, and what lies beneath it.
pub struct Error<K> {
    kind: K,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What every kind of error can tell about itself.
pub trait Kind: fmt::Display + fmt::Debug {
    /// Whether the same call, made again later, may succeed without anything else being changed.
    fn is_retryable(&self) -> bool;
}

impl<K: Kind> Error<K> {
    /// Which check failed, with what was seen.
    pub fn kind(&self) -> &K {
        &self.kind
    }

    /// Whether the same call, made again later, may succeed without anything else being changed.
    pub fn is_retryable(&self) -> bool {
        self.kind.is_retryable()
    }

    /// The kind by itself.
    pub fn into_kind(self) -> K {
        self.kind
    }

    pub(crate) fn new(kind: K) -> Error<K> {
        Error { kind, source: None }
    }

    pub(crate) fn with(kind: K, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error<K> {
        Error { kind, source: Some(source.into()) }
    }
}

impl<K: Kind> From<K> for Error<K> {
    fn from(kind: K) -> Error<K> {
        Error::new(kind)
    }
}

impl<K: Kind> fmt::Display for Error<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl<K: Kind> fmt::Debug for Error<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl<K: Kind> StdError for Error<K> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The server's definite no to a request: what it said, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong; programs match on this.
    pub code: ErrorCode,
    /// Whether the server says that the same thing, done again, may succeed.
    pub retryable: bool,
    /// Do not try again before so much time has passed.
    pub retry_after: Option<Duration>,
    /// Which limit was hit and what it is set to.
    pub limit: Option<(LimitId, u64)>,
    /// The server's words, for a person; one line without control characters.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(error: &hark_protocol::Error) -> Refusal {
        let after = Duration::from_millis(u64::from(error.retry_after_ms));
        Refusal {
            code: error.code,
            retryable: error.retryable,
            retry_after: (!after.is_zero()).then_some(after),
            limit: (error.limit != LimitId(0)).then_some((error.limit, error.limit_value)),
            text: error.text.as_str().to_owned(),
        }
    }

    pub(crate) fn code(code: ErrorCode) -> Refusal {
        Refusal { code, retryable: code.is_retryable(), retry_after: None, limit: None, text: String::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => write!(f, "{}", self.code)?,
            false => write!(f, "{} ({})", self.text, self.code)?,
        }
        if let Some((limit, value)) = self.limit {
            write!(f, "; {limit} is {value}")?;
        }
        match self.retry_after {
            Some(after) => write!(f, "; try again in {:.1} s", after.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// Declares a kind: its variants with their words and whether each may be retried.
macro_rules! kind {
    (
        $(#[$doc:meta])* $error:ident: $name:ident {
            $( $(#[$vdoc:meta])* $variant:ident $(($inner:ident: $type:ty))? $({ $($field:ident: $ftype:ty),+ })?
                => $words:expr, $retryable:expr; )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$vdoc])* $variant $(($type))? $({ $(
                #[doc = concat!("What was seen: ", stringify!($field), ".")] $field: $ftype
            ),+ })?, )+
        }

        #[doc = concat!("An error of the kind [`", stringify!($name), "`].")]
        pub type $error = Error<$name>;

        impl std::fmt::Display for $name {
            #[allow(unused_variables, reason = "not every arm prints what it holds")]
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $( $name::$variant $(($inner))? $({ $($field),+ })? => {
                        let words: String = $words.into();
                        f.write_str(&words)
                    } )+
                }
            }
        }

        impl Kind for $name {
            #[allow(unused_variables, reason = "not every arm looks at what it holds")]
            fn is_retryable(&self) -> bool {
                match self {
                    $( $name::$variant $(($inner))? $({ $($field),+ })? => $retryable, )+
                }
            }
        }
    };
}

kind! {
    /// Why a connection could not be made, or was given up for good.
    ConnectError: ConnectErrorKind {
        /// The address can not be read or resolved, or the builder was given what can not be used.
        Address => "the address can not be used", false;
        /// Nobody answered, or the network failed on the way.
        Refused => "the server can not be reached", true;
        /// Address, TLS and login together took longer than the connect timeout.
        Timeout => "the server did not answer in time", true;
        /// The TLS handshake failed; nothing secret was sent.
        Tls(problem: TlsProblem) => problem.to_string(), false;
        /// What answered speaks TLS, but not Hark.
        NotHark => "what answers there is not a Hark server", false;
        /// No protocol version is common to both.
        Version => "client and server have no protocol version in common", false;
        /// The server has no room now.
        Busy { retry_after: Option<Duration> } => "the server is busy", true;
        /// Name and secret do not go together; which of them is wrong is never said.
        AuthFailed => "login refused: the name and the secret do not belong together", false;
        /// The session that was to be taken up is no more, and there are no credentials to log in with.
        SessionExpired => "the session is no more; log in again", false;
        /// Another connection has taken this client's session up.
        SessionReplaced => "another connection has taken up the session", false;
        /// The account was disabled.
        Disabled => "the account is disabled", false;
        /// A limit of the server was hit.
        Limit(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The server refused for another reason.
        Refusal(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The connection ended before it was ready, or was lost and is not to be made again.
        Closed => "the connection was closed", true;
        /// The peer broke the protocol.
        Protocol => "the server broke the protocol", true;
        /// The outbox on the disk can not be used; nothing was sent.
        Outbox(problem: OutboxProblem) => problem.to_string(), matches!(problem, OutboxProblem::Locked { .. });
    }
}

kind! {
    /// Why an account could not be registered.
    RegisterError: RegisterErrorKind {
        /// There was no connection on which to ask; no account was made.
        Connect(kind: ConnectErrorKind) => kind.to_string(), kind.is_retryable();
        /// Name, password, token or display name are not of an acceptable form; nothing was sent.
        Invalid => "the registration can not be sent", false;
        /// The server takes no registrations.
        NotAllowed => "the server takes no registrations", false;
        /// The registration token is not valid.
        TokenRefused => "the registration token is not valid", false;
        /// The name belongs to somebody else.
        NameTaken => "the name is taken", false;
        /// The server refused for another reason.
        Refused(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The connection was lost before the answer: the account may or may not exist. Log in to find out.
        Unknown => "the connection was lost before the answer: the account may or may not exist", false;
    }
}

kind! {
    /// Why a request failed.
    RequestError: RequestErrorKind {
        /// There is no connection and the client does not queue; nothing was sent.
        Offline => "there is no connection; nothing was sent", true;
        /// A name or a text is not of an acceptable form; nothing was sent.
        Invalid => "the request can not be sent", false;
        /// The server said no.
        Refused(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The connection was lost before the answer, and the request can not be repeated safely.
        Unknown => "the connection was lost before the answer: it may or may not have been done", false;
        /// The server's answer can not be understood.
        Protocol => "the server broke the protocol", false;
        /// The client was closed; nothing was sent.
        Closed => "the client is closed; nothing was sent", false;
        /// This process does not send it any more, but the outbox on the disk could not be told: the next one may.
        Outbox => "the outbox could not be told: the next process may send it", true;
    }
}

kind! {
    /// Why something could not be done with a room.
    RoomError: RoomErrorKind {
        /// There is no connection and the client does not queue; nothing was sent.
        Offline => "there is no connection; nothing was sent", true;
        /// A name or a text is not of an acceptable form; nothing was sent.
        Invalid => "the request can not be sent", false;
        /// There is no such room or account, or you may not know of it.
        NotFound => "there is no such room or account", false;
        /// Only members may do that.
        NotMember => "only members of the room may do that", false;
        /// Your role does not allow it.
        Forbidden => "your role does not allow it", false;
        /// A room of that name exists already.
        NameTaken => "a room of that name exists already", false;
        /// The server said no for another reason.
        Refused(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The client was closed for good before an answer: it may or may not have been done.
        Unknown => "the connection was lost before the answer: it may or may not have been done", true;
        /// The server's answer can not be understood.
        Protocol => "the server broke the protocol", false;
        /// The client is closed; nothing was sent.
        Closed => "the client is closed; nothing was sent", false;
    }
}

kind! {
    /// Why an event is not in the room's log, or is not known to be.
    SendError: SendErrorKind {
        /// There is no connection and the client refuses to queue; nothing was sent.
        Offline => "there is no connection; nothing was sent", true;
        /// As many publishes as the client keeps are unanswered; nothing was sent.
        QueueFull => "too many publishes are unanswered; nothing was sent", true;
        /// The server said no; the event is not in the log.
        Rejected(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The body is larger than the server takes; nothing was sent.
        TooLarge { size: usize, max: u64 }
            => format!("{size} bytes are more than the server takes ({max}); nothing was sent"), false;
        /// Clients may not publish this kind; nothing was sent.
        NotPublishable => "clients may not publish events of this kind; nothing was sent", false;
        /// The connection, or the time for the answer, was given up before the answer; or the outbox on the disk
        /// failed in a way that leaves open whether the next process sends it. The event may be in the log, now or
        /// later: publishing it again *with the same client id* is safe and finds out.
        Unknown => "there is no answer: it may or may not have been stored", true;
        /// The time for the answer passed before there was a connection on which to send it; nothing was sent.
        Expired => "the time for it passed before it could be sent; nothing was sent", true;
        /// The application gave it up in the [`Outbox`](crate::Outbox) before it was sent; nothing was sent.
        Abandoned => "it was given up before it was sent; nothing was sent", false;
        /// There is no verdict yet, and it is in the outbox on the disk: it will be sent again, by this client or
        /// by the next one with that outbox, and [`Outbox::settled`](crate::Outbox::settled) tells what becomes of
        /// it. Do not publish it again.
        Kept => "there is no answer yet; it is kept in the outbox and will be sent again", false;
        /// It could not be written to the outbox on the disk; nothing was sent.
        Outbox => "it could not be kept in the outbox; nothing was sent", true;
        /// The client is closed; nothing was sent.
        Closed => "the client is closed; nothing was sent", false;
    }
}

impl SendErrorKind {
    /// Whether it is certain that the event is not in the log, and that this client will not put it there. False
    /// for [`SendErrorKind::Unknown`] and [`SendErrorKind::Kept`].
    pub fn is_definite(&self) -> bool {
        !matches!(self, SendErrorKind::Unknown | SendErrorKind::Kept)
    }
}

kind! {
    /// Why a room can not be followed.
    SubscribeError: SubscribeErrorKind {
        /// There is no connection and the client does not queue; nothing was sent.
        Offline => "there is no connection; nothing was sent", true;
        /// There is no such room, or you may not know of it.
        NotFound => "there is no such room", false;
        /// Only members may follow it.
        NotMember => "only members of the room may follow it", false;
        /// The server said no for another reason.
        Refused(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// Another subscription of the same room was begun before this one was answered.
        Replaced => "the room was subscribed again before the answer", false;
        /// The client is closed.
        Closed => "the client is closed", false;
    }
}

kind! {
    /// Why history could not be read on.
    HistoryError: HistoryErrorKind {
        /// There is no connection and the client does not queue.
        Offline => "there is no connection; nothing was read", true;
        /// There is no such room, or you may not know of it.
        NotFound => "there is no such room", false;
        /// Only members may read it.
        NotMember => "only members of the room may read it", false;
        /// The log was replaced by another incarnation while it was read.
        EpochChanged => "the room's log was replaced while it was being read", false;
        /// The server said no for another reason.
        Refused(refusal: Refusal) => refusal.to_string(), refusal.retryable;
        /// The server's answer can not be understood.
        Protocol => "the server broke the protocol", false;
        /// The client is closed.
        Closed => "the client is closed", false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_error_says_whether_anything_may_have_been_stored() {
        assert!(!SendErrorKind::Unknown.is_definite());
        for kind in [SendErrorKind::Offline, SendErrorKind::QueueFull, SendErrorKind::Closed] {
            assert!(kind.is_definite());
            assert!(kind.to_string().ends_with("nothing was sent"), "{kind}");
        }
    }

    #[test]
    fn a_refusal_prints_the_limit_and_the_time() {
        let refusal = Refusal {
            code: ErrorCode::RATE,
            retryable: true,
            retry_after: Some(Duration::from_millis(1500)),
            limit: Some((LimitId::PUBLISH_RATE, 20)),
            text: "too fast".into(),
        };
        let words = SendError::new(SendErrorKind::Rejected(refusal)).to_string();
        assert_eq!(words, "too fast (RATE); publish_rate_per_second is 20; try again in 1.5 s");
    }
}
