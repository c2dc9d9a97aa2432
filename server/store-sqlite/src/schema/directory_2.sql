-- Sessions: which tokens take one up again, and since when it is without a connection.

CREATE TABLE sessions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    device      INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    newest      BLOB    NOT NULL UNIQUE,
    resumed     BLOB    UNIQUE,
    generation  INTEGER NOT NULL,
    lifetime_ms INTEGER NOT NULL,
    left_at     INTEGER
) STRICT;

CREATE INDEX sessions_by_device ON sessions (device, left_at, id);

CREATE INDEX sessions_connected ON sessions (id) WHERE left_at IS NULL;

CREATE INDEX sessions_by_lapse ON sessions (left_at + lifetime_ms) WHERE left_at IS NOT NULL;
