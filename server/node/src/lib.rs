//! The Hark server as a library.
