-- How many members a room has, so that a list of rooms need not read the members of each.

ALTER TABLE rooms ADD COLUMN members INTEGER NOT NULL DEFAULT 0;

UPDATE rooms SET members = (SELECT count(*) FROM members WHERE room = rooms.id);
