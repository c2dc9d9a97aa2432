//! What the whole-system tests stand on: the repository as text, and real servers and clients as processes.

pub mod client;
pub mod process;
pub mod repository;
pub mod rust_text;
pub mod scale;
pub mod server;
pub mod terminal;
pub mod tls;

/// README.md, whose Rust is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
