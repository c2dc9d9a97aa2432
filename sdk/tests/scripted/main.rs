//! The SDK against servers that follow a script, and break the rules where the script says so. Bytes and TLS are
//! real; the network is memory and the clock is paused, so that a minute's silence takes no time.

#![allow(clippy::unwrap_used, reason = "a script that can not go on has failed")]

mod alive;
mod backpressure;
mod crashes;
mod following;
mod login;
mod outbox;
mod publishing;
mod reconnecting;
mod resuming;
mod server;
mod trust;
mod watching;
