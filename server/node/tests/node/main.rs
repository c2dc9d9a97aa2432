//! A whole node over stores in memory, spoken to over real sockets in frames made by hand.

mod rig;
mod tls;
mod hello;
mod framing;
mod login;
mod accounts;
mod rooms;
mod publishing;
