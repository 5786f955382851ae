-- A row that gets longer cannot be updated where it is, and pages that were filled one after the
-- other have no space for it: a fifth of the work of storing a user's first totals. So a new user
-- has the room of four increments from the start, see `scoreboard.fraud`. Users who are there
-- already get it with their next change.
ALTER TABLE users ALTER COLUMN recent_increments SET DEFAULT x'00000000000000000000000000000000';
