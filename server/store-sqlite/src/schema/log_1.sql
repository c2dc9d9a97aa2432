-- The truth. What an acknowledgement waits for is written in the order of its arrival.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Which log this is, so that an index of another one is not taken for this one's.
INSERT INTO meta (key, value) VALUES ('log', randomblob(16));

-- A room's row outlives its events: heads come from here, never from what is left in the log.
CREATE TABLE rooms (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL UNIQUE,
    visibility INTEGER NOT NULL,
    history    INTEGER NOT NULL,
    topic      TEXT    NOT NULL,
    epoch      INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    head       INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    control    INTEGER NOT NULL
) STRICT;

CREATE INDEX rooms_public ON rooms (id) WHERE visibility = 1;

-- AUTOINCREMENT: a position that was used is never used again, even if its row is gone.
-- Room and seq stand before the frame, so that the indexer never reads a long frame's overflow pages.
CREATE TABLE log (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    room     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    frame    BLOB    NOT NULL
) STRICT;

-- The identity of every event. client_id comes first: ids that grow with time are inserted at the end.
-- The time stands here too, because an identity may outlive its event.
CREATE TABLE identities (
    client_id BLOB    NOT NULL,
    author    INTEGER NOT NULL,
    room      INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    time      INTEGER NOT NULL,
    request   BLOB    NOT NULL,
    PRIMARY KEY (client_id, author, room)
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    room    INTEGER NOT NULL REFERENCES rooms (id),
    account INTEGER NOT NULL,
    role    INTEGER NOT NULL,
    joined  INTEGER NOT NULL,
    PRIMARY KEY (room, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX members_by_account ON members (account, room);

CREATE TABLE invites (
    room    INTEGER NOT NULL REFERENCES rooms (id),
    account INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (room, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX invites_by_account ON invites (account, room);
