//! The Hark server as a library.

pub mod clock;
pub mod entropy;
pub mod metrics;
pub mod password;
pub mod settings;
pub mod token;
