//! Power cuts under the SQLite store: everything that it writes is recorded, every state that a disk may be left
//! in is rebuilt, opened again by the stock store, and compared with everything that was ever promised.
//!
//! A seed determines a [`story`]: what is asked, and from the stores in memory what must be answered and found. A
//! [`take`] tells it to the real store over a recording [`vfs`], in several lives of the process that end by a close,
//! a kill or a power cut, while syncs and writes fail now and then. The [`tape`] has everything in the order in which it
//! really happened; the store's own thread comes between where it may, so a seed alone determines the tape only where
//! house is kept in place. A failure is therefore saved with its tape ([`archive`]), and the tape, the place of the cut
//! and a number determine the image. A [`disk`] makes images of any place of a tape, the [`verdict`] judges one, and the
//! [`rig`] does that many times over. What it is worth is shown by leaving out syncs and by [`planted`] bugs.
//!
//! What is assumed: a sector of 512 bytes is written whole or not at all, and a write harms nothing beside it; a sync
//! that succeeds has written everything of its file that was not lost to a failed one before; the bytes that the store
//! writes and syncs without SQLite (a mark, a write-ahead log that it writes once more) are taken for durable.

pub mod rig;
pub mod archive;
pub mod take;
pub mod story;
pub mod history;
pub mod directory;
pub mod verdict;
pub mod anomaly;
pub mod reading;
pub mod damage;
pub mod disk;
pub mod tape;
pub mod recorder;
pub mod vfs;
pub mod planted;
pub mod rng;
