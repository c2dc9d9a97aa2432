//! Hark as a whole: what its source promises about itself, and real servers and clients against each other.

mod chat;
mod e2e;
mod embedding;
mod examples;
mod tidy;
mod walkthrough;
