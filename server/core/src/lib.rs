//! The thinking of the Hark server: who may do what, in which order, and what is sent to whom.
//!
//! Everything here is a value or a machine: time, ids and chance are arguments, nothing waits, logs or spawns.
//! What must be remembered goes through the [`ports`]; `memory` implements them for tests, and `testkit` holds
//! the suites that every implementation has to pass.

pub mod session;
pub mod outstanding;
pub mod room;
pub mod authz;
pub mod pipeline;
pub mod tail;
pub mod delivery;
mod pen;
pub mod subscription;
pub mod watch;
pub mod cursor_book;
pub mod rate;
pub mod epoch;
pub mod refusal;
pub mod close_reason;
pub mod limits;
pub mod ports;
pub mod memory;
pub mod testkit;

pub use close_reason::CloseReason;
pub use limits::Limits;
pub use refusal::Refusal;
