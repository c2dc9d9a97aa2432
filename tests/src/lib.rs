//! What the whole-system tests stand on: the repository as text, and real servers and clients as processes.

pub mod repository;
pub mod rust_text;
