//! A whole node over stores in memory, spoken to over real sockets in frames made by hand.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod rig;
mod tls;
mod hello;
mod framing;
mod login;
mod sessions;
mod accounts;
mod rooms;
mod publishing;
mod following;
mod watching;
mod lagging;
mod history;
mod retention;
mod ephemeral;
mod deadlines;
mod admission;
mod faults;
mod inline;
mod shutdown;
mod forward;
mod robustness;
mod counting;
