-- One row that a reader changes to have the log synced past what it has read; see
-- `worker.database`. A table of its own, so that it never waits for the board's lock.
CREATE TABLE log_syncs (
    id TINYINT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT INTO log_syncs (id, number) VALUES (1, 0);
