//! The thinking of the Hark server: pure machines, ports and memory adapters.
