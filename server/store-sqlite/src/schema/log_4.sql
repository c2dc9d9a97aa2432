-- How much of its log a room keeps, as its owners have set it (0: no bound), and how much it holds.
-- `bytes`: frames from `swept` on, of events behind `uncounted`. `oldest`: a time no later than that of the event at
-- `first`. `swept`: events before it have been removed; between it and `first` they wait for that.
ALTER TABLE rooms ADD COLUMN max_age_s  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN max_events INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN max_bytes  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN bytes      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN uncounted  INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN oldest     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN swept      INTEGER NOT NULL DEFAULT 1;

UPDATE rooms SET uncounted = head;

CREATE INDEX rooms_retaining ON rooms (id) WHERE max_age_s <> 0 OR max_events <> 0 OR max_bytes <> 0;
CREATE INDEX rooms_unswept ON rooms (id) WHERE swept < first;

-- Identities whose events have been removed and that are too young to go with them, in the order of the events.
CREATE TABLE farewells (
    position  INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,
    client_id BLOB    NOT NULL,
    author    INTEGER NOT NULL,
    room      INTEGER NOT NULL,
    seq       INTEGER NOT NULL
) STRICT;
