//! The Hark server as a library.

pub mod clock;
pub mod config;
pub mod entropy;
pub mod metrics;
pub mod password;
mod private_file;
pub mod settings;
pub mod telemetry;
pub mod tls;
pub mod token;
