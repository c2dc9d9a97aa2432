-- Who may log in, with what, and how far each device has got.

CREATE TABLE accounts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL UNIQUE,
    display_name TEXT    NOT NULL,
    role         INTEGER NOT NULL,
    disabled     INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    password     TEXT    NOT NULL
) STRICT;

CREATE TABLE devices (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    account   INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    label     TEXT    NOT NULL,
    token     BLOB    NOT NULL UNIQUE,
    created   INTEGER NOT NULL,
    last_used INTEGER NOT NULL
) STRICT;

CREATE INDEX devices_by_account ON devices (account, last_used, id);

CREATE TABLE cursors (
    device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    room   INTEGER NOT NULL,
    epoch  INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (device, room)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
