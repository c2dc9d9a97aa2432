//! How a command ends: one exit code and one plain sentence for everything that can go wrong.

use std::io;

use hark_sdk::{
    ConnectError, ConnectErrorKind, ErrorCode, HistoryError, HistoryErrorKind, Refusal, RegisterError,
    RegisterErrorKind, RequestError, RequestErrorKind, RoomError, RoomErrorKind, SendError, SendErrorKind,
    SubscribeError, SubscribeErrorKind, TlsProblem,
};

use crate::profile::ProfileError;
use crate::text::visible;

/// What a script can tell apart. The numbers are a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// The server said no; nothing was changed.
    Refused = 1,
    /// The command, an argument, a file or a setting on this machine is wrong; nothing was sent.
    Usage = 2,
    /// There was no connection; nothing was sent.
    NotReached = 3,
    /// It was sent, and nobody knows what became of it.
    Unknown = 4,
}

/// A command that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something to tell: what happened and what to do.
    Said {
        /// Which exit code.
        outcome: Outcome,
        /// One sentence, without what a terminal would act on.
        sentence: String,
    },
    /// Nobody reads the output any more, which is for the reader to decide.
    PipeClosed,
}

impl Failure {
    /// A failure with a sentence, which may hold a stranger's words.
    pub(crate) fn new(outcome: Outcome, sentence: impl AsRef<str>) -> Failure {
        Failure::Said { outcome, sentence: visible(sentence.as_ref()) }
    }

    /// A failure on this side, before anything was sent.
    pub(crate) fn usage(sentence: impl AsRef<str>) -> Failure {
        Failure::new(Outcome::Usage, sentence)
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failure::Said { outcome, .. } => *outcome as u8,
            Failure::PipeClosed => 0,
        }
    }

    /// What to tell, if anything.
    pub(crate) fn sentence(&self) -> Option<&str> {
        match self {
            Failure::Said { sentence, .. } => Some(sentence),
            Failure::PipeClosed => None,
        }
    }
}

/// The result of every command.
pub(crate) type Done<T = ()> = Result<T, Failure>;

impl From<io::Error> for Failure {
    /// For errors of the standard output, which is where a command's plain writes go.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::usage(format!("the output could not be written: {error}")),
        }
    }
}

impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Failure {
        Failure::usage(error.to_string())
    }
}

/// For a client that was given up because it was offline for too long.
const NOTHING_WAS_SENT: &str = "there is no connection to the server; nothing was sent";

const MAY_OR_MAY_NOT: &str = "the connection was lost before the answer: it may or may not have been done";

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        connect(error.kind(), &error.to_string())
    }
}

/// A connection that could not be made; `words` are the error's, with what lies beneath it.
fn connect(kind: &ConnectErrorKind, words: &str) -> Failure {
    use Outcome::{NotReached, Refused};
    let (outcome, advice) = match kind {
        ConnectErrorKind::Address => (NotReached, "check the server's name"),
        ConnectErrorKind::Refused => (NotReached, "check the address and that harkd runs there"),
        ConnectErrorKind::Timeout => (NotReached, "check the address, or try again later"),
        ConnectErrorKind::Tls(problem) => return Failure::new(NotReached, tls_sentence(problem)),
        ConnectErrorKind::NotHark => (NotReached, "check the port; harkd listens on 4275 by default"),
        ConnectErrorKind::Version => (Refused, "bring hark or the server up to date"),
        ConnectErrorKind::Busy { .. } => (Refused, "try again later"),
        ConnectErrorKind::AuthFailed => {
            (Refused, "check the name and the password, or log in again with `hark login`")
        }
        ConnectErrorKind::Disabled => (Refused, "ask the server's operator"),
        ConnectErrorKind::Limit(refusal) | ConnectErrorKind::Refusal(refusal) => return refused(refusal),
        ConnectErrorKind::SessionExpired => (Refused, "run `hark login`"),
        ConnectErrorKind::SessionReplaced => (Refused, "another program has taken up the session"),
        ConnectErrorKind::Closed => (NotReached, "try again later"),
        ConnectErrorKind::Protocol => (NotReached, "check that hark and the server fit together"),
        _ => (NotReached, "try again later"),
    };
    Failure::new(outcome, format!("{words}; {advice}"))
}

/// What failed in the handshake and what a person can do about it.
fn tls_sentence(problem: &TlsProblem) -> String {
    let advice = match problem {
        TlsProblem::UnknownIssuer => {
            "give its authority with --ca FILE or its fingerprint with --pin; nothing was sent"
        }
        TlsProblem::WrongName { .. } => "use one of those names in --server; nothing was sent",
        TlsProblem::Expired => "have it renewed, or set the clock; nothing was sent",
        TlsProblem::NotYetValid => "set the clock; nothing was sent",
        TlsProblem::PinMismatch { .. } => {
            "if its operator confirms the new one, pass it with --pin and log in again; nothing was sent"
        }
        TlsProblem::NotTls => "check the port; harkd listens on 4275 by default; nothing was sent",
        _ => "check the address; nothing was sent",
    };
    format!("{problem}; {advice}")
}

/// A definite no, with what can be done about the codes for which something can.
fn refused(refusal: &Refusal) -> Failure {
    let advice = match refusal.code {
        ErrorCode::RATE | ErrorCode::BUSY | ErrorCode::UNAVAILABLE if refusal.retry_after.is_none() => {
            "; try again later"
        }
        ErrorCode::CONFLICT => "; the same id was used for something else",
        ErrorCode::UNKNOWN_TYPE | ErrorCode::UNSUPPORTED => "; the server is too old for this",
        _ => "",
    };
    Failure::new(Outcome::Refused, format!("the server refused: {refusal}{advice}"))
}

impl From<RegisterError> for Failure {
    fn from(error: RegisterError) -> Failure {
        let refused_with = |advice: &str| Failure::new(Outcome::Refused, format!("{error}; {advice}"));
        match error.kind() {
            RegisterErrorKind::Connect(kind) => connect(kind, &error.to_string()),
            RegisterErrorKind::Invalid => Failure::usage(error.to_string()),
            RegisterErrorKind::NotAllowed => refused_with("ask the server's operator for an account"),
            RegisterErrorKind::TokenRefused => refused_with("ask the server's operator for a new one"),
            RegisterErrorKind::NameTaken => refused_with("choose another, or log in with `hark login`"),
            RegisterErrorKind::Refused(refusal) => refused(refusal),
            RegisterErrorKind::Unknown => {
                Failure::new(Outcome::Unknown, format!("{error}; try `hark login` to find out"))
            }
            _ => Failure::new(Outcome::Unknown, error.to_string()),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        let words = error.to_string();
        match error.kind() {
            RequestErrorKind::Offline | RequestErrorKind::Closed => {
                Failure::new(Outcome::NotReached, NOTHING_WAS_SENT)
            }
            RequestErrorKind::Invalid => Failure::usage(words),
            RequestErrorKind::Refused(refusal) => refused(refusal),
            RequestErrorKind::Unknown => Failure::new(Outcome::Unknown, MAY_OR_MAY_NOT),
            RequestErrorKind::Protocol => Failure::new(Outcome::Unknown, words),
            _ => Failure::new(Outcome::Unknown, words),
        }
    }
}

impl From<RoomError> for Failure {
    fn from(error: RoomError) -> Failure {
        let words = error.to_string();
        match error.kind() {
            RoomErrorKind::Offline | RoomErrorKind::Closed => {
                Failure::new(Outcome::NotReached, NOTHING_WAS_SENT)
            }
            RoomErrorKind::Invalid => Failure::usage(words),
            RoomErrorKind::NotFound => Failure::new(
                Outcome::Refused,
                format!("{words}, or you may not know of it; see `hark rooms`"),
            ),
            RoomErrorKind::NotMember => {
                Failure::new(Outcome::Refused, format!("{words}; enter it with `hark join`"))
            }
            RoomErrorKind::Forbidden | RoomErrorKind::NameTaken => Failure::new(Outcome::Refused, words),
            RoomErrorKind::Refused(refusal) => refused(refusal),
            RoomErrorKind::Unknown => Failure::new(Outcome::Unknown, MAY_OR_MAY_NOT),
            RoomErrorKind::Protocol => Failure::new(Outcome::Unknown, words),
            _ => Failure::new(Outcome::Unknown, words),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Failure {
        let words = error.to_string();
        match error.kind() {
            SendErrorKind::Offline | SendErrorKind::Closed => {
                Failure::new(Outcome::NotReached, NOTHING_WAS_SENT)
            }
            SendErrorKind::QueueFull
            | SendErrorKind::Expired
            | SendErrorKind::Abandoned
            | SendErrorKind::Outbox => Failure::new(Outcome::NotReached, words),
            SendErrorKind::Rejected(refusal) if refusal.code == ErrorCode::NOT_MEMBER => Failure::new(
                Outcome::Refused,
                "the server refused: only members may send to this room; enter it with `hark join`",
            ),
            SendErrorKind::Rejected(refusal) => refused(refusal),
            SendErrorKind::TooLarge { .. } => Failure::new(Outcome::Refused, words),
            SendErrorKind::NotPublishable => Failure::usage(words),
            SendErrorKind::Unknown => Failure::new(Outcome::Unknown, words),
            _ => Failure::new(Outcome::Unknown, words),
        }
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Failure {
        let words = error.to_string();
        match error.kind() {
            SubscribeErrorKind::Offline | SubscribeErrorKind::Closed => {
                Failure::new(Outcome::NotReached, NOTHING_WAS_SENT)
            }
            SubscribeErrorKind::NotFound => Failure::new(
                Outcome::Refused,
                format!("{words}, or you may not know of it; see `hark rooms`"),
            ),
            SubscribeErrorKind::NotMember => {
                Failure::new(Outcome::Refused, format!("{words}; enter it with `hark join`"))
            }
            SubscribeErrorKind::Refused(refusal) => refused(refusal),
            // Following is reading: a subscription that nobody answered has changed nothing.
            _ => Failure::new(Outcome::NotReached, words),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Failure {
        let words = error.to_string();
        match error.kind() {
            HistoryErrorKind::Offline | HistoryErrorKind::Closed => {
                Failure::new(Outcome::NotReached, NOTHING_WAS_SENT)
            }
            HistoryErrorKind::NotFound => Failure::new(
                Outcome::Refused,
                format!("{words}, or you may not know of it; see `hark rooms`"),
            ),
            HistoryErrorKind::NotMember => {
                Failure::new(Outcome::Refused, format!("{words}; enter it with `hark join`"))
            }
            HistoryErrorKind::EpochChanged => {
                Failure::new(Outcome::Refused, format!("{words}; read it anew"))
            }
            HistoryErrorKind::Refused(refusal) => refused(refusal),
            // Reading changes nothing, so nothing is in doubt.
            _ => Failure::new(Outcome::NotReached, words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(failure: impl Into<Failure>) -> u8 {
        failure.into().code()
    }

    fn refusal(code: ErrorCode) -> Refusal {
        Refusal { code, retryable: false, retry_after: None, limit: None, text: "no".into() }
    }

    #[test]
    fn connecting_is_refused_or_not_reached_and_never_unknown() {
        use ConnectErrorKind as Kind;
        for (kind, expected) in [
            (Kind::Address, 3),
            (Kind::Refused, 3),
            (Kind::Timeout, 3),
            (Kind::Tls(TlsProblem::UnknownIssuer), 3),
            (Kind::Tls(TlsProblem::Expired), 3),
            (Kind::Tls(TlsProblem::NotTls), 3),
            (Kind::NotHark, 3),
            (Kind::Version, 1),
            (Kind::Busy { retry_after: None }, 1),
            (Kind::AuthFailed, 1),
            (Kind::Disabled, 1),
            (Kind::Limit(refusal(ErrorCode::LIMIT)), 1),
            (Kind::Refusal(refusal(ErrorCode::INTERNAL)), 1),
            (Kind::Closed, 3),
            (Kind::Protocol, 3),
        ] {
            assert_eq!(code(ConnectError::from(kind.clone())), expected, "{kind:?}");
            let registering = RegisterErrorKind::Connect(kind.clone());
            assert_eq!(code(RegisterError::from(registering)), expected, "{kind:?}");
        }
    }

    #[test]
    fn sending_tells_nothing_was_sent_from_nobody_knows() {
        use SendErrorKind as Kind;
        for (kind, expected) in [
            (Kind::Offline, 3),
            (Kind::QueueFull, 3),
            (Kind::Expired, 3),
            (Kind::Outbox, 3),
            (Kind::Kept, 4),
            (Kind::Closed, 3),
            (Kind::Rejected(refusal(ErrorCode::NOT_MEMBER)), 1),
            (Kind::Rejected(refusal(ErrorCode::RATE)), 1),
            (Kind::TooLarge { size: 9, max: 8 }, 1),
            (Kind::NotPublishable, 2),
            (Kind::Unknown, 4),
        ] {
            assert_eq!(code(SendError::from(kind.clone())), expected, "{kind:?}");
        }
    }

    #[test]
    fn requests_about_rooms_and_accounts_map_alike() {
        for (room, request, expected) in [
            (RoomErrorKind::Offline, RequestErrorKind::Offline, 3),
            (RoomErrorKind::Invalid, RequestErrorKind::Invalid, 2),
            (
                RoomErrorKind::Refused(refusal(ErrorCode::LIMIT)),
                RequestErrorKind::Refused(refusal(ErrorCode::LIMIT)),
                1,
            ),
            (RoomErrorKind::Unknown, RequestErrorKind::Unknown, 4),
            (RoomErrorKind::Protocol, RequestErrorKind::Protocol, 4),
            (RoomErrorKind::Closed, RequestErrorKind::Closed, 3),
        ] {
            assert_eq!(code(RoomError::from(room.clone())), expected, "{room:?}");
            assert_eq!(code(RequestError::from(request.clone())), expected, "{request:?}");
        }
        for kind in [RoomErrorKind::NotFound, RoomErrorKind::NotMember, RoomErrorKind::Forbidden] {
            assert_eq!(code(RoomError::from(kind)), 1);
        }
    }

    #[test]
    fn reading_is_refused_or_not_reached_and_never_unknown() {
        assert_eq!(code(SubscribeError::from(SubscribeErrorKind::NotMember)), 1);
        assert_eq!(code(SubscribeError::from(SubscribeErrorKind::Offline)), 3);
        assert_eq!(code(HistoryError::from(HistoryErrorKind::EpochChanged)), 1);
        assert_eq!(code(HistoryError::from(HistoryErrorKind::Closed)), 3);
    }

    #[test]
    fn a_wrong_password_is_one_plain_sentence() {
        let failure = Failure::from(ConnectError::from(ConnectErrorKind::AuthFailed));
        let sentence = failure.sentence().unwrap();
        assert!(sentence.contains("password") && !sentence.contains('\n'), "{sentence}");
    }

    #[test]
    fn an_untrusted_server_is_told_apart_and_nothing_was_sent() {
        let failure = Failure::from(ConnectError::from(ConnectErrorKind::Tls(TlsProblem::UnknownIssuer)));
        let sentence = failure.sentence().unwrap();
        assert!(sentence.contains("--ca") && sentence.ends_with("nothing was sent"), "{sentence}");
    }

    #[test]
    fn a_server_can_not_write_to_the_terminal_through_an_error() {
        let words = Refusal { text: "\x1b[2J".into(), ..refusal(ErrorCode::INTERNAL) };
        let failure = Failure::from(SendError::from(SendErrorKind::Rejected(words)));
        assert!(!failure.sentence().unwrap().contains('\x1b'));
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.sentence()), (0, None));
        assert_eq!(code(io::Error::from(io::ErrorKind::StorageFull)), 2);
    }
}
