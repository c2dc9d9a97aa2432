//! Real servers and clients as processes, over TLS, on real disks.

mod conversation;
mod durability;
mod flood;
mod intruders;
mod refusals;
