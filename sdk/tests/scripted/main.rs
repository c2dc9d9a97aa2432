//! The SDK against servers that follow a script, and break the rules where the script says so. Bytes and TLS are
//! real; the network is memory and the clock is paused, so that a minute's silence takes no time.

mod backpressure;
mod following;
mod login;
mod publishing;
mod reconnecting;
mod server;
mod trust;
