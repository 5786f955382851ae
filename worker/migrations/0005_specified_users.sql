-- oldest program: 4
-- The specification's table: ids that MySQL gives, names of up to 255 characters, and idx_score.
-- The index has the whole order of the board, since a read by score alone would sort every user
-- with the same score: with it no request scans the users while Redis is away. Programs of
-- version 4 read and write these tables as before.
ALTER TABLE users
    MODIFY id BIGINT NOT NULL AUTO_INCREMENT,
    MODIFY name VARCHAR(255) NOT NULL;
-- One made by hand, of another order.
ALTER TABLE users DROP KEY idx_score;
ALTER TABLE users ADD KEY idx_score (score DESC, seq, id);
-- The latest decisions, for the list of all cases.
ALTER TABLE reviews ADD KEY reviews_decided (decided_at_us, opened_at_us);
