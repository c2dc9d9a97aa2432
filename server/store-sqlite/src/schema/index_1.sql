-- Where each event stands in the log. Everything here can be built again from it.

CREATE TABLE entries (
    room     INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;

-- One row: which log, and up to which of its positions.
CREATE TABLE progress (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    log      BLOB    NOT NULL,
    position INTEGER NOT NULL
) STRICT;
