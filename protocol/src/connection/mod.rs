//! Frames of the connection itself: who speaks which version, who is logged in, and how it ends.

mod auth;
mod close;
mod error;
mod hello;
mod ping;
mod register;
mod welcome;

pub use auth::{AccountRole, Auth, AuthMethod, Authenticated, PresenceMode, Resume};
pub use close::{Close, Disposition, GoAway};
pub use error::{Cancel, Error, Ok};
pub use hello::Hello;
pub use ping::{Ping, Pong};
pub use register::Register;
pub use welcome::Welcome;
