-- Moves the ranking forward by consecutive changes, or says why not.
-- KEYS  meta, ranking, members, names
-- ARGV  incarnation, first seq, last seq, then per user: id, member, negated score, name
-- Returns {1, cursor} moved; {0, cursor} not moved: the changes do not start right
-- after the cursor; {-1} the ranking is missing or belongs to another history.
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation')
if not state[1] or state[2] ~= ARGV[1] then
  return {-1}
end
local cursor = tonumber(state[1])
if tonumber(ARGV[2]) ~= cursor + 1 then
  return {0, cursor}
end
for i = 4, #ARGV, 4 do
  local id, member = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[3], id)
  if old and old ~= member then
    redis.call('ZREM', KEYS[2], old)
  end
  redis.call('ZADD', KEYS[2], ARGV[i + 2], member)
  redis.call('HSET', KEYS[3], id, member)
  redis.call('HSET', KEYS[4], id, ARGV[i + 3])
end
redis.call('HSET', KEYS[1], 'seq', ARGV[3])
return {1, tonumber(ARGV[3])}
