//! What the source promises about itself: walls between crates, sizes, and documents that fit the code.

mod documents;
mod hygiene;
mod shape;
mod walls;

/// Fails with all complaints at once, so that one run shows everything that is to be mended.
fn assert_none(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{rule}:\n  {}\n", complaints.join("\n  "));
}
