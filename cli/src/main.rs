//! hark: chat from a terminal or a script.
fn main() {}
