//! The server's ports over SQLite.
