//! Why a request is not carried out: one variant for each rule, and one table from rule to wire code.

use hark_protocol::{DecodeError, ErrorCode, LimitId};
use thiserror::Error;

/// This request is not carried out, nothing has changed, and the connection lives.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The request breaks a rule.
    #[error("{0}")]
    Malformed(&'static str),
    /// A value or an extension that this server does not know.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The payload can not be read.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// Name and secret do not fit; which of them is never said.
    #[error("name or secret is wrong")]
    AuthFailed,
    /// The token takes no session up again; why is never said.
    #[error("this session is no more")]
    SessionExpired,
    /// The request needs a login first.
    #[error("log in first")]
    Unauthenticated,
    /// The account's role does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such room or account, or the account may not know of it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Only members may do it.
    #[error("you are not a member of this room")]
    NotMember,
    /// The client id already stands for another request.
    #[error("this client id already stands for another request")]
    Conflict,
    /// The name belongs to somebody else.
    #[error("this name is taken")]
    NameTaken,
    /// A limit would be passed.
    #[error("{limit} is {value}, and this would pass it")]
    Limit {
        /// Which limit.
        limit: LimitId,
        /// What it is set to.
        value: u64,
    },
    /// Too fast.
    #[error("too fast: {limit} is {value}")]
    Rate {
        /// Which rate.
        limit: LimitId,
        /// What it is set to.
        value: u64,
        /// When to try again, in milliseconds from now.
        retry_after_ms: u32,
    },
    /// A field is larger than the server takes.
    #[error("{limit} is {value}, and this is larger")]
    TooLarge {
        /// Which limit.
        limit: LimitId,
        /// What it is set to.
        value: u64,
    },
    /// A publish before this one was refused and may come again.
    #[error("a publish before this one was refused and may come again")]
    PredecessorRefused,
    /// The store can not do it now.
    #[error("the server can not store anything now")]
    Unavailable,
    /// The request was cancelled before it was done.
    #[error("cancelled")]
    Cancelled,
    /// The position belongs to another incarnation of the log.
    #[error("the position belongs to another incarnation of this room's log")]
    EpochChanged,
    /// A fault of the server's own.
    #[error("a fault of the server's own")]
    Internal,
}

impl Refusal {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Refusal::Malformed(_) => ErrorCode::MALFORMED,
            Refusal::Unsupported(_) => ErrorCode::UNSUPPORTED,
            Refusal::Unreadable(error) => error.code(),
            Refusal::AuthFailed => ErrorCode::AUTH_FAILED,
            Refusal::SessionExpired => ErrorCode::SESSION_EXPIRED,
            Refusal::Unauthenticated => ErrorCode::UNAUTHENTICATED,
            Refusal::Forbidden(_) => ErrorCode::FORBIDDEN,
            Refusal::NotFound(_) => ErrorCode::NOT_FOUND,
            Refusal::NotMember => ErrorCode::NOT_MEMBER,
            Refusal::Conflict => ErrorCode::CONFLICT,
            Refusal::NameTaken => ErrorCode::NAME_TAKEN,
            Refusal::Limit { .. } => ErrorCode::LIMIT,
            Refusal::Rate { .. } => ErrorCode::RATE,
            Refusal::TooLarge { .. } => ErrorCode::TOO_LARGE,
            Refusal::PredecessorRefused => ErrorCode::PREDECESSOR_REFUSED,
            Refusal::Unavailable => ErrorCode::UNAVAILABLE,
            Refusal::Cancelled => ErrorCode::CANCELLED,
            Refusal::EpochChanged => ErrorCode::EPOCH_CHANGED,
            Refusal::Internal => ErrorCode::INTERNAL,
        }
    }

    /// The limit that was hit and its value, where one was.
    pub fn limit(&self) -> (LimitId, u64) {
        match self {
            Refusal::Limit { limit, value }
            | Refusal::Rate { limit, value, .. }
            | Refusal::TooLarge { limit, value } => (*limit, *value),
            _ => (LimitId(0), 0),
        }
    }

    /// When to try again, in milliseconds; 0 = no advice.
    pub fn retry_after_ms(&self) -> u32 {
        match self {
            Refusal::Rate { retry_after_ms, .. } => *retry_after_ms,
            Refusal::Unavailable => 1_000,
            _ => 0,
        }
    }
}
