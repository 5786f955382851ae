-- oldest program: 5
-- Where the numbers of this history begin: a new one jumps above every number that was ever shown,
-- so no number is given to two changes. Programs of version 5 never read it, and leave it alone.
ALTER TABLE boards ADD COLUMN starts_after BIGINT NOT NULL DEFAULT 0;
