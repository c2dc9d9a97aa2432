//! Hark as a whole: what its source promises about itself, and real servers and clients against each other.

mod tidy;
