-- oldest program: 6
-- One row per order of an operator about a player: the audit trail, and what makes an order happen
-- once. Names of removed players are taken out of it. Programs of version 6 do not know it.
CREATE TABLE player_changes (
    id BINARY(16) NOT NULL PRIMARY KEY,
    digest BINARY(16) NOT NULL,
    action VARCHAR(16) CHARACTER SET ascii NOT NULL,
    user_id BIGINT NOT NULL,
    into_id BIGINT NULL,
    name VARCHAR(255) NULL,
    name_before VARCHAR(255) NULL,
    score BIGINT NULL,
    score_before BIGINT NULL,
    seq BIGINT NOT NULL,
    actor VARBINARY(64) NOT NULL,
    reason VARCHAR(255) NOT NULL,
    committed_at_us BIGINT NOT NULL,
    KEY player_changes_user (user_id, action),
    KEY player_changes_seq (seq),
    KEY player_changes_into (into_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
