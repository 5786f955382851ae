-- Entries of the ranking for some users, read atomically.
-- KEYS  meta, ranking, members
-- ARGV  user ids; at most a few thousand, the room of Lua's stack
-- Returns the cursor of this board, 0 without one, their members and the scores of these, in order;
-- nil for users without one
local members = redis.call('HMGET', KEYS[3], unpack(ARGV))
local scores = {}
for n, member in ipairs(members) do
  scores[n] = member and redis.call('ZSCORE', KEYS[2], member)
end
return {redis.call('HGET', KEYS[1], 'seq') or '0', members, scores}
