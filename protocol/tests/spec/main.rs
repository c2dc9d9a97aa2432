//! Holds the specification, its registry, its vectors and this crate together.

mod constants;
mod hex;
mod registry;
