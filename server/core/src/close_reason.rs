//! Why a connection ends: one variant for each check, and one table from check to wire code.

use hark_protocol::{Error, ErrorCode, FrameError, LimitId, Line, Scope};
use thiserror::Error as ThisError;

use crate::subscription::BeyondSent;

/// The end of a connection that is not the peer's own wish. After the first one, nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum CloseReason {
    /// The peer sent what is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No version is common to both sides.
    #[error("this server speaks versions {min} to {max}")]
    VersionUnsupported {
        /// The lowest that this server speaks.
        min: u8,
        /// The highest.
        max: u8,
    },
    /// The frame does not belong in this state of the conversation.
    #[error("{0}")]
    BadState(&'static str),
    /// A deadline passed.
    #[error("{what} took longer than {limit} allows, {after_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// Which limit.
        limit: LimitId,
        /// Its value.
        after_ms: u32,
    },
    /// Nothing was heard for too long.
    #[error("nothing was heard for {after_ms} ms")]
    Heartbeat {
        /// For how long.
        after_ms: u32,
    },
    /// The peer took no bytes for too long.
    #[error("no bytes could be written for {after_ms} ms")]
    WriteStalled {
        /// For how long.
        after_ms: u32,
    },
    /// Too many frames that cost work and carry none.
    #[error("too many frames that carry nothing")]
    Flood,
    /// An ACK for what was never sent.
    #[error(transparent)]
    Flow(#[from] BeyondSent),
    /// The server has no room for another connection.
    #[error("{limit} is reached")]
    Busy {
        /// Which limit.
        limit: LimitId,
        /// Its value.
        value: u64,
        /// When to try again.
        retry_after_ms: u32,
    },
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// Too many failed logins on this connection.
    #[error("too many failed logins")]
    TooManyAuthTries,
    /// The account was disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// Another connection has taken the session up.
    #[error("another connection has taken this session up")]
    SessionReplaced,
    /// A fault of the server's own ended the connection.
    #[error("a fault of the server's own")]
    Internal,
}

impl CloseReason {
    /// The code that the peer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CloseReason::Frame(error) => error.code(),
            CloseReason::VersionUnsupported { .. } => ErrorCode::VERSION_UNSUPPORTED,
            CloseReason::BadState(_) => ErrorCode::BAD_STATE,
            CloseReason::Timeout { .. } => ErrorCode::TIMEOUT,
            CloseReason::Heartbeat { .. } => ErrorCode::HEARTBEAT,
            CloseReason::WriteStalled { .. } => ErrorCode::WRITE_STALLED,
            CloseReason::Flood => ErrorCode::FLOOD,
            CloseReason::Flow(_) => ErrorCode::FLOW,
            CloseReason::Busy { .. } => ErrorCode::BUSY,
            CloseReason::ShuttingDown => ErrorCode::SHUTTING_DOWN,
            CloseReason::TooManyAuthTries => ErrorCode::TOO_MANY_AUTH_TRIES,
            CloseReason::AccountDisabled => ErrorCode::ACCOUNT_DISABLED,
            CloseReason::SessionReplaced => ErrorCode::SESSION_REPLACED,
            CloseReason::Internal => ErrorCode::INTERNAL,
        }
    }

    /// The ERROR that says so.
    pub fn to_error(&self) -> Error {
        let (limit, limit_value) = match self {
            CloseReason::Timeout { limit, after_ms, .. } => (*limit, u64::from(*after_ms)),
            CloseReason::Busy { limit, value, .. } => (*limit, *value),
            CloseReason::Frame(FrameError::TooLarge { max, .. }) => (LimitId::FRAME_BYTES, u64::from(*max)),
            CloseReason::Heartbeat { after_ms } => (LimitId::HEARTBEAT_TIMEOUT_MS, u64::from(*after_ms)),
            CloseReason::WriteStalled { after_ms } => (LimitId::WRITE_TIMEOUT_MS, u64::from(*after_ms)),
            _ => (LimitId(0), 0),
        };
        let retry_after_ms = match self {
            CloseReason::Busy { retry_after_ms, .. } => *retry_after_ms,
            _ => 0,
        };
        let code = self.code();
        Error {
            code,
            scope: Scope::CONNECTION,
            retryable: code.is_retryable(),
            resume_allowed: code.allows_resume(),
            retry_after_ms,
            limit,
            limit_value,
            text: Line::lossy(&self.to_string()),
        }
    }
}
