-- The order of the board is kept by Redis. The index kept it a second time: each change of a
-- score moved an entry from one page to another, a quarter of MySQL's work for a submission, for
-- the sake of reads while Redis is away, when no submission is admitted. Those scan the users.
ALTER TABLE users DROP KEY users_board_order;
