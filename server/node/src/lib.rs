//! The Hark server as a library.

pub mod node;
pub mod listener;
mod admission;
mod connection;
mod link;
mod hub;
mod room_entry;
mod writer;
mod scribe;
mod retention;
mod seat;
mod session_keeper;
mod tails;
mod identity;
mod logins;
mod presence;
pub mod storage;
pub mod assemble;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod executor;
pub mod entropy;
pub mod first_run;
pub mod http;
pub mod metrics;
pub mod password;
mod private_file;
pub mod settings;
pub mod telemetry;
pub mod tls;
pub mod token;

pub use executor::Executor;
pub use listener::Listener;
pub use node::{Node, NodeBuilder, ShutdownReport, StartError};
pub use storage::Stores;
