//! The suites that every implementation of a port has to pass. Each takes a function that makes an empty store
//! and whatever must live as long as the store, such as its folder; it is called once for every claim.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a suite fails by panicking")]

pub mod cursors;
pub mod directory;
pub mod drafts;
pub mod log;
mod log_reads;
mod log_retention;
mod log_rooms;
pub mod sessions;
