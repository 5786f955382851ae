-- oldest program: 7
-- Whose case it is, so that the open ones of a user are counted without reading those of others.
-- Programs of version 7 leave it 0: their cases do not count.
ALTER TABLE reviews ADD COLUMN user_id BIGINT NOT NULL DEFAULT 0;
UPDATE reviews JOIN ledger USING (submission_id)
    SET reviews.user_id = ledger.user_id
    WHERE reviews.user_id = 0;
ALTER TABLE reviews ADD KEY reviews_user (user_id, decision);
