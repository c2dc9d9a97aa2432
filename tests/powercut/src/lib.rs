//! Power cuts under the SQLite store: everything that it writes is recorded, every state that a disk may be left
//! in is rebuilt, opened again by the stock store, and compared with everything that was ever promised.

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
