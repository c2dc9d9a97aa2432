//! Torture: real servers as processes behind a proxy that breaks things, killed, paused and starved, while many
//! clients write and read through the SDK; what they saw is judged by the checker.

pub mod author;
pub mod bug;
pub mod chance;
pub mod dump;
pub mod fault;
pub mod mode;
pub mod proxy;
pub mod reader;
pub mod recorder;
pub mod torture;
pub mod world;

/// Whatever keeps the rig from going on.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;
