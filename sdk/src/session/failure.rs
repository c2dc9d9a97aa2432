//! Why a request has no answer of its own type, and what that is called in each operation.

use std::sync::Arc;

use hark_protocol::ErrorCode;

use crate::error::{
    ConnectError, Error, HistoryError, HistoryErrorKind, Refusal, RegisterError, RegisterErrorKind,
    RequestError, RequestErrorKind, RoomError, RoomErrorKind, SendError, SendErrorKind, SubscribeError,
    SubscribeErrorKind,
};

/// Why a request has no answer of its own type. Exactly one of these or an answer comes for every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no connection and nothing is queued; nothing was sent.
    Offline,
    /// The body is above the server's limit; nothing was sent.
    TooLarge { size: usize, max: u64 },
    /// The server said no.
    Refused(Refusal),
    /// It was sent, and the connection was given up before the answer.
    Unknown,
    /// The time for its answer passed before it was ever sent; nothing was sent.
    Expired,
    /// The application gave it up before it was ever sent; nothing was sent.
    Abandoned,
    /// There is no such publish.
    NotThere,
    /// It has no verdict and is on the disk, from where it will be sent again.
    Kept,
    /// It could not be written to the disk; nothing was sent.
    Outbox(Arc<str>),
    /// Writing to the disk failed, and what is there now will be seen, and maybe sent, by the next process.
    InDoubt(Arc<str>),
    /// The answer can not be read.
    Protocol(Arc<str>),
    /// A newer subscription of the same room took its place.
    Replaced,
    /// The client is closed; nothing was sent.
    Closed,
}

impl From<Failure> for RequestError {
    fn from(failure: Failure) -> RequestError {
        match failure {
            Failure::Offline => RequestErrorKind::Offline.into(),
            Failure::TooLarge { size, max } => {
                Error::with(RequestErrorKind::Invalid, format!("{size} bytes are above {max}"))
            }
            Failure::Refused(refusal) => RequestErrorKind::Refused(refusal).into(),
            Failure::Unknown | Failure::Kept => RequestErrorKind::Unknown.into(),
            Failure::Expired | Failure::Abandoned | Failure::NotThere | Failure::Outbox(_) => {
                RequestErrorKind::Closed.into()
            }
            Failure::InDoubt(why) => Error::with(RequestErrorKind::Outbox, &*why),
            Failure::Protocol(why) => Error::with(RequestErrorKind::Protocol, &*why),
            Failure::Replaced | Failure::Closed => RequestErrorKind::Closed.into(),
        }
    }
}

impl From<Failure> for RoomError {
    fn from(failure: Failure) -> RoomError {
        match failure {
            Failure::Offline => RoomErrorKind::Offline.into(),
            Failure::TooLarge { size, max } => {
                Error::with(RoomErrorKind::Invalid, format!("{size} bytes are above {max}"))
            }
            Failure::Refused(refusal) => match refusal.code {
                ErrorCode::NOT_FOUND => RoomErrorKind::NotFound.into(),
                ErrorCode::NOT_MEMBER => RoomErrorKind::NotMember.into(),
                ErrorCode::FORBIDDEN => RoomErrorKind::Forbidden.into(),
                ErrorCode::NAME_TAKEN => RoomErrorKind::NameTaken.into(),
                _ => RoomErrorKind::Refused(refusal).into(),
            },
            Failure::Unknown | Failure::Kept | Failure::InDoubt(_) => RoomErrorKind::Unknown.into(),
            Failure::Expired | Failure::Abandoned | Failure::NotThere | Failure::Outbox(_) => {
                RoomErrorKind::Closed.into()
            }
            Failure::Protocol(why) => Error::with(RoomErrorKind::Protocol, &*why),
            Failure::Replaced | Failure::Closed => RoomErrorKind::Closed.into(),
        }
    }
}

impl From<Failure> for SendError {
    fn from(failure: Failure) -> SendError {
        match failure {
            Failure::Offline => SendErrorKind::Offline.into(),
            Failure::TooLarge { size, max } => SendErrorKind::TooLarge { size, max }.into(),
            Failure::Refused(refusal) => SendErrorKind::Rejected(refusal).into(),
            Failure::Unknown => SendErrorKind::Unknown.into(),
            Failure::Expired => SendErrorKind::Expired.into(),
            Failure::Abandoned | Failure::NotThere => SendErrorKind::Abandoned.into(),
            Failure::Kept => SendErrorKind::Kept.into(),
            Failure::Outbox(why) => Error::with(SendErrorKind::Outbox, &*why),
            Failure::InDoubt(why) => Error::with(SendErrorKind::Unknown, &*why),
            Failure::Protocol(why) => Error::with(SendErrorKind::Unknown, &*why),
            Failure::Replaced | Failure::Closed => SendErrorKind::Closed.into(),
        }
    }
}

impl From<Failure> for SubscribeError {
    fn from(failure: Failure) -> SubscribeError {
        match failure {
            Failure::Offline => SubscribeErrorKind::Offline.into(),
            Failure::Refused(refusal) => match refusal.code {
                ErrorCode::NOT_FOUND => SubscribeErrorKind::NotFound.into(),
                ErrorCode::NOT_MEMBER => SubscribeErrorKind::NotMember.into(),
                _ => SubscribeErrorKind::Refused(refusal).into(),
            },
            Failure::Replaced => SubscribeErrorKind::Replaced.into(),
            Failure::Protocol(why) => Error::with(SubscribeErrorKind::Closed, &*why),
            Failure::TooLarge { .. }
            | Failure::Unknown
            | Failure::Expired
            | Failure::Abandoned
            | Failure::NotThere
            | Failure::Kept
            | Failure::Outbox(_)
            | Failure::InDoubt(_)
            | Failure::Closed => SubscribeErrorKind::Closed.into(),
        }
    }
}

impl From<Failure> for HistoryError {
    fn from(failure: Failure) -> HistoryError {
        match failure {
            Failure::Offline => HistoryErrorKind::Offline.into(),
            Failure::Refused(refusal) => match refusal.code {
                ErrorCode::NOT_FOUND => HistoryErrorKind::NotFound.into(),
                ErrorCode::NOT_MEMBER => HistoryErrorKind::NotMember.into(),
                ErrorCode::EPOCH_CHANGED => HistoryErrorKind::EpochChanged.into(),
                _ => HistoryErrorKind::Refused(refusal).into(),
            },
            Failure::Protocol(why) => Error::with(HistoryErrorKind::Protocol, &*why),
            Failure::TooLarge { .. }
            | Failure::Unknown
            | Failure::Expired
            | Failure::Abandoned
            | Failure::NotThere
            | Failure::Kept
            | Failure::Outbox(_)
            | Failure::InDoubt(_)
            | Failure::Replaced
            | Failure::Closed => HistoryErrorKind::Closed.into(),
        }
    }
}

impl From<ConnectError> for RegisterError {
    fn from(error: ConnectError) -> RegisterError {
        let words = error.to_string();
        Error::with(RegisterErrorKind::Connect(error.into_kind()), words)
    }
}
