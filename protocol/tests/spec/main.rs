//! Holds the specification, its registry, its vectors and this crate together. What can be made from registry and
//! code, `HARK_BLESS=1` writes (twice, when vectors change: the fuzz seeds are made of the files); without it,
//! everything is compared.

#![allow(clippy::unwrap_used, reason = "a test that can not go on says where")]

mod annotate;
mod broken;
mod constants;
mod corpus;
mod extremes;
mod fuzz_properties;
mod hex;
mod json_schema;
mod pages;
mod properties;
mod registry;
mod rejects;
mod requirements;
mod samples;
mod schema;
mod session;
mod strategies;
mod streams;
mod tables;
mod vectors;
