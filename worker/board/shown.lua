-- Entries of the ranking for some users, read atomically.
-- KEYS  ranking, members
-- ARGV  user ids; at most a few thousand, the room of Lua's stack
-- Returns their members and the scores of these, in order; nil for users without one
local members = redis.call('HMGET', KEYS[2], unpack(ARGV))
local scores = {}
for n, member in ipairs(members) do
  scores[n] = member and redis.call('ZSCORE', KEYS[1], member)
end
return {members, scores}
