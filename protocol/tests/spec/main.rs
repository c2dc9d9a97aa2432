//! Holds the specification, its registry, its vectors and this crate together. What can be made from registry and
//! code, `HARK_BLESS=1` writes; without it, everything is compared.

mod annotate;
mod constants;
mod extremes;
mod fuzz_properties;
mod hex;
mod json_schema;
mod pages;
mod registry;
mod rejects;
mod requirements;
mod samples;
mod schema;
mod session;
mod streams;
mod tables;
mod vectors;
