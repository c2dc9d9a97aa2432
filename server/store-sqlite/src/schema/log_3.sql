-- The epochs that all logs began together, and why: after a restore, a damaged end, an older file put back.
-- Up to `position` the log had come then; what was found about its end has been dealt with.
CREATE TABLE epochs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    epoch    INTEGER NOT NULL,
    time     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    reason   TEXT    NOT NULL
) STRICT;
