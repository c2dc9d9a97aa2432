//! harkd: the Hark server.
fn main() {}
