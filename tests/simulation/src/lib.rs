//! The simulation: the product's server, SDK, TLS and SQLite in one process under virtual time, with everything
//! that chance decides decided by a seed. A seed is one trace: it fails again as it failed.

pub mod bug;
mod chance;
mod client;
mod dump;
pub mod fault;
mod net;
mod panics;
pub mod plan;
mod reader;
mod run;
mod server;
pub mod sweep;
mod tls;
mod trace;
mod twice;
mod world;
mod written;

pub use run::{Outcome, REST_BEHIND_PARTITIONS_MAX, REST_MAX, Variation, run, run_plan};
pub use trace::Trace;
pub use twice::difference;
