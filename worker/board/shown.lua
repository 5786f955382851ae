-- What the ranking holds for some users, all of it at one moment.
-- KEYS  ranking, members
-- ARGV  user ids; at most some thousands, as Lua's stack holds no more
-- Returns their members and the scores of these, in order; nothing where there is none
local members = redis.call('HMGET', KEYS[2], unpack(ARGV))
local scores = {}
for n, member in ipairs(members) do
  scores[n] = member and redis.call('ZSCORE', KEYS[1], member)
end
return {members, scores}
