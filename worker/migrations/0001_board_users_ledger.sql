-- Portable between MySQL 8.4 and MariaDB 10.11.

-- One row per board. Its lock puts all changes of the board in one order; seq is
-- the last number given out. AUTO_INCREMENT would be no cursor: a transaction that
-- commits late makes readers skip its numbers.
-- incarnation tells this history from another one that was here before.
CREATE TABLE boards (
    id INT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL DEFAULT 0,
    incarnation CHAR(36) CHARACTER SET ascii NOT NULL
) ENGINE = InnoDB;

INSERT INTO boards (id, seq, incarnation) VALUES (1, 0, UUID());

-- window_* and recent_increments are what the fraud rules remember of a user.
CREATE TABLE users (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(64) NOT NULL,
    score BIGINT NOT NULL DEFAULT 0,
    seq BIGINT NOT NULL DEFAULT 0,
    window_start_s BIGINT NOT NULL DEFAULT 0,
    window_points BIGINT NOT NULL DEFAULT 0,
    recent_increments VARBINARY(64) NOT NULL DEFAULT '',
    CONSTRAINT users_score_range CHECK (score BETWEEN 0 AND 9007199254740991),
    KEY users_board_order (score DESC, seq ASC, id ASC)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- One row per submission ever decided, applied or rejected. The primary key is the
-- exactly-once guarantee; it is written in the transaction that changes the score.
CREATE TABLE ledger (
    submission_id BINARY(16) NOT NULL PRIMARY KEY,
    principal VARBINARY(64) NOT NULL,
    user_id BIGINT NOT NULL,
    increment BIGINT NOT NULL,
    outcome VARCHAR(32) CHARACTER SET ascii NOT NULL,
    seq BIGINT NULL,
    score_after BIGINT NULL,
    received_at_us BIGINT NOT NULL,
    committed_at_us BIGINT NOT NULL,
    UNIQUE KEY ledger_seq (seq)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;

-- One row per submission that was held: the case, and the audit trail of its end.
CREATE TABLE reviews (
    submission_id BINARY(16) NOT NULL PRIMARY KEY,
    reasons VARCHAR(128) CHARACTER SET ascii NOT NULL,
    opened_at_us BIGINT NOT NULL,
    decision VARCHAR(16) CHARACTER SET ascii NULL,
    decided_by VARBINARY(64) NULL,
    decided_at_us BIGINT NULL,
    KEY reviews_open (decision, opened_at_us)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
