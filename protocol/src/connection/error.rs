//! ERROR, OK and CANCEL: the answers that every request has in common, and how to want one no longer.

use crate::error_code::{ErrorCode, Scope};
use crate::limits::{ERROR_TEXT_BYTES_MAX, LimitId};
use crate::wire::payload;
use crate::{Correlation, Line};

payload! {
    /// A request failed, or the connection did. Never answered by another ERROR.
    pub struct Error: ERROR {
        /// What went wrong.
        pub code: ErrorCode,
        /// How far it reaches.
        pub scope: Scope,
        /// Whether the same thing, done again, may succeed.
        pub retryable: bool,
        /// Whether a session may be resumed after the connection's end.
        pub resume_allowed: bool,
        /// Do not try again before so many milliseconds have passed; 0 = no advice.
        pub retry_after_ms: u32,
        /// Which limit was hit; 0 = none.
        pub limit: LimitId,
        /// The limit's value; 0 where none was hit.
        pub limit_value: u64,
        /// For a person reading a log; programs match on the code.
        pub text: Line<ERROR_TEXT_BYTES_MAX>,
    }
}

payload! {
    /// A request was done and has nothing to say.
    pub struct Ok: OK {}
}

payload! {
    /// Stops a read that was asked for. Has no answer of its own: the cancelled request still gets exactly one.
    pub struct Cancel: CANCEL {
        /// The correlation of the request.
        pub request: Correlation,
    }
}
