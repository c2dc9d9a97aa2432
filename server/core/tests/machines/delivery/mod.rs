//! Delivery under random schedules: several rooms and connections over a log that is damaged, cut and read
//! late, with hints that are lost, doubled and reordered. Each client checks every frame it is sent.

mod client;
mod log;
mod schedule;
mod world;
mod watches;
