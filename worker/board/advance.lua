-- Moves the ranking and the stream forward by consecutive changes, or returns why not.
-- KEYS  meta, ranking, members, stream
-- ARGV  incarnation, first seq, last seq, encoded changes, most entries to keep, field, then
--       per user: id, member, negated score
-- Returns {1, cursor} moved; {0, cursor} not moved: the changes do not start right
-- after the cursor; {-1} the board is missing or belongs to another history.
-- Each kind of command is called once for many users: calls cost more than their work.
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation')
if not state[1] or state[2] ~= ARGV[1] then
  return {-1}
end
local cursor = tonumber(state[1])
if tonumber(ARGV[2]) ~= cursor + 1 then
  return {0, cursor}
end

-- First, since only this can fail: nothing has been changed yet.
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], ARGV[3] .. '-0', ARGV[6], ARGV[4])

-- Lua's stack has room for about 8,000 values.
local USERS_PER_CALL = 1000

for start = 7, #ARGV, 3 * USERS_PER_CALL do
  local stop = math.min(start + 3 * USERS_PER_CALL - 1, #ARGV)
  local ids, members, scored, gone = {}, {}, {}, {}
  for i = start, stop, 3 do
    local id, member = ARGV[i], ARGV[i + 1]
    ids[#ids + 1] = id
    members[#members + 1] = id
    members[#members + 1] = member
    scored[#scored + 1] = ARGV[i + 2]
    scored[#scored + 1] = member
  end
  local old = redis.call('HMGET', KEYS[3], unpack(ids))
  for n, member in ipairs(old) do
    if member and member ~= members[2 * n] then
      gone[#gone + 1] = member
    end
  end
  if #gone > 0 then
    redis.call('ZREM', KEYS[2], unpack(gone))
  end
  redis.call('ZADD', KEYS[2], unpack(scored))
  redis.call('HSET', KEYS[3], unpack(members))
end
redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'tail', ARGV[3])
return {1, tonumber(ARGV[3])}
