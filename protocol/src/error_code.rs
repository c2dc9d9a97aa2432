//! The codes of ERROR: what went wrong, whether the connection lives, and whether a retry makes sense.

use crate::open::open_enum;

open_enum! {
    /// How far an error reaches.
    pub struct Scope(u8) as "scope" {
        /// This request only; the connection lives.
        REQUEST = 1 "request",
        /// The connection, which closes after it.
        CONNECTION = 2 "connection",
    }
}

open_enum! {
    /// What went wrong. Codes are never reused.
    pub struct ErrorCode(u16) as "error code" {
        /// The first four bytes are not `HARK`.
        BAD_MAGIC = 0x0001 "BAD_MAGIC",
        /// A header carries a version that was not agreed.
        BAD_VERSION = 0x0002 "BAD_VERSION",
        /// A checksum does not fit its frame.
        BAD_CHECKSUM = 0x0003 "BAD_CHECKSUM",
        /// A header announces more than the receiver takes.
        FRAME_TOO_LARGE = 0x0004 "FRAME_TOO_LARGE",
        /// No version is common to both sides.
        VERSION_UNSUPPORTED = 0x0005 "VERSION_UNSUPPORTED",
        /// The frame does not belong in this state of the conversation.
        BAD_STATE = 0x0006 "BAD_STATE",
        /// A deadline passed: handshake, HELLO, authentication or the rest of a frame.
        TIMEOUT = 0x0007 "TIMEOUT",
        /// Nothing was heard for too long.
        HEARTBEAT = 0x0008 "HEARTBEAT",
        /// Too many frames that cost work and carry none.
        FLOOD = 0x0009 "FLOOD",
        /// An ACK for what was never sent.
        FLOW = 0x000a "FLOW",
        /// The server has no room for another connection.
        BUSY = 0x000b "BUSY",
        /// The server is going away.
        SHUTTING_DOWN = 0x000c "SHUTTING_DOWN",
        /// The peer took no bytes for too long.
        WRITE_STALLED = 0x000d "WRITE_STALLED",
        /// Too many failed logins on this connection.
        TOO_MANY_AUTH_TRIES = 0x000e "TOO_MANY_AUTH_TRIES",
        /// The account was disabled.
        ACCOUNT_DISABLED = 0x000f "ACCOUNT_DISABLED",
        /// Another connection has taken the session up.
        SESSION_REPLACED = 0x0010 "SESSION_REPLACED",

        /// The payload can not be read, or breaks a rule of its fields.
        MALFORMED = 0x0101 "MALFORMED",
        /// A critical type that the receiver does not know.
        UNKNOWN_TYPE = 0x0102 "UNKNOWN_TYPE",
        /// A critical extension or a value that the receiver does not know.
        UNSUPPORTED = 0x0103 "UNSUPPORTED",
        /// Who you say you are could not be shown. Never says which part was wrong.
        AUTH_FAILED = 0x0104 "AUTH_FAILED",
        /// Log in first.
        UNAUTHENTICATED = 0x0105 "UNAUTHENTICATED",
        /// Your role does not allow it.
        FORBIDDEN = 0x0106 "FORBIDDEN",
        /// There is no such thing, or you may not know of it.
        NOT_FOUND = 0x0107 "NOT_FOUND",
        /// Members only.
        NOT_MEMBER = 0x0108 "NOT_MEMBER",
        /// The client id already stands for another request.
        CONFLICT = 0x0109 "CONFLICT",
        /// The name belongs to somebody else.
        NAME_TAKEN = 0x010a "NAME_TAKEN",
        /// A limit would be passed; `limit` says which.
        LIMIT = 0x010b "LIMIT",
        /// Too fast; `retry_after_ms` says when.
        RATE = 0x010c "RATE",
        /// The server can not do it now; nothing was changed.
        UNAVAILABLE = 0x010d "UNAVAILABLE",
        /// A field is larger than the server's limit; `limit` says which.
        TOO_LARGE = 0x010e "TOO_LARGE",
        /// A publish before this one in the room was refused and may come again, so this one must not pass it.
        PREDECESSOR_REFUSED = 0x010f "PREDECESSOR_REFUSED",
        /// The request was cancelled before it was done.
        CANCELLED = 0x0110 "CANCELLED",
        /// The server's own fault; its log knows more.
        INTERNAL = 0x0111 "INTERNAL",
        /// The position belongs to another incarnation of the log.
        EPOCH_CHANGED = 0x0112 "EPOCH_CHANGED",
        /// The session is no more: lapsed, ended, revoked, or never there. Log in.
        SESSION_EXPIRED = 0x0113 "SESSION_EXPIRED",
    }
}

impl ErrorCode {
    /// How far the code reaches, by the registry: codes below `0x0100` end the connection.
    pub fn scope(self) -> Scope {
        if self.0 < 0x0100 { Scope::CONNECTION } else { Scope::REQUEST }
    }

    /// Whether the login outlives the error: the client may come back with the same session and go on from its
    /// positions. Not where it would only meet the same end, or drive out who has the session now.
    pub fn allows_resume(self) -> bool {
        !matches!(
            self,
            ErrorCode::BAD_MAGIC
                | ErrorCode::BAD_VERSION
                | ErrorCode::VERSION_UNSUPPORTED
                | ErrorCode::TOO_MANY_AUTH_TRIES
                | ErrorCode::ACCOUNT_DISABLED
                | ErrorCode::SESSION_REPLACED
                | ErrorCode::SESSION_EXPIRED
        )
    }

    /// Whether the same thing, done again later, may succeed.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            ErrorCode::TIMEOUT
                | ErrorCode::HEARTBEAT
                | ErrorCode::BUSY
                | ErrorCode::SHUTTING_DOWN
                | ErrorCode::WRITE_STALLED
                | ErrorCode::BAD_CHECKSUM
                | ErrorCode::RATE
                | ErrorCode::UNAVAILABLE
                | ErrorCode::PREDECESSOR_REFUSED
                | ErrorCode::INTERNAL
        )
    }
}
