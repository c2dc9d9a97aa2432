//! The Hark client SDK.
