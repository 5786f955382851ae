-- Moves the ranking and the stream forward by consecutive changes, or returns why not.
-- KEYS  meta, ranking, members, stream
-- ARGV  incarnation, first seq, last seq, encoded changes, most entries to keep, field, identity
--       of the change before the first, identity of the last one, field of the former; then per
--       user: id, member or '' for one who has left, negated score
-- Returns {1, cursor} moved; {0, cursor, identity} not moved: the changes do not start right
-- after the cursor; {-1} the board is missing, torn or belongs to another history; {-2} the
-- change at the cursor is not the one that these follow.
-- Each kind of command is called once for many users: calls cost more than their work.
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation', 'tip', 'users', 'entries')
local cursor = state[1] and tonumber(state[1])
if not cursor or state[2] ~= ARGV[1] then
  return {-1}
end
local tip = state[3] or ''
-- A program of the version before moved the cursor and left the identity behind.
if string.sub(tip, 1, #state[1] + 1) ~= state[1] .. ':' then
  return {-1}
end
if tonumber(ARGV[2]) ~= cursor + 1 then
  return {0, cursor, tip}
end
if tip ~= ARGV[7] then
  return {-2}
end
local users = tonumber(state[4])
if redis.call('ZCARD', KEYS[2]) ~= users or redis.call('HLEN', KEYS[3]) ~= users then
  return {-1}
end
if #redis.call('XRANGE', KEYS[4], '(' .. state[1] .. '-0', '+', 'COUNT', 1) > 0 then
  -- Somebody else has written to the stream.
  return {-1}
end

-- First, since only this can fail: nothing has been changed yet.
local added = redis.pcall('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], ARGV[3] .. '-0',
  ARGV[6], ARGV[4], ARGV[9], ARGV[7])
if type(added) == 'table' and added.err then
  if string.find(added.err, 'equal or smaller', 1, true) then
    -- Somebody else has written to the stream and taken it back.
    redis.call('HSET', KEYS[1], 'foreign', 1)
    return {-1}
  end
  return added
end

-- Lua's stack has room for about 8,000 values.
local USERS_PER_CALL = 1000
local foreign = false

for start = 10, #ARGV, 3 * USERS_PER_CALL do
  local stop = math.min(start + 3 * USERS_PER_CALL - 1, #ARGV)
  local ids, members, scored, gone, left = {}, {}, {}, {}, {}
  for i = start, stop, 3 do
    local id, member = ARGV[i], ARGV[i + 1]
    ids[#ids + 1] = id
    if member == '' then
      left[#left + 1] = id
    else
      members[#members + 1] = id
      members[#members + 1] = member
      scored[#scored + 1] = ARGV[i + 2]
      scored[#scored + 1] = member
    end
  end
  local old = redis.call('HMGET', KEYS[3], unpack(ids))
  for n, member in ipairs(old) do
    if member and member ~= ARGV[start + 3 * (n - 1) + 1] then
      gone[#gone + 1] = member
    end
  end
  if #gone > 0 and redis.call('ZREM', KEYS[2], unpack(gone)) ~= #gone then
    foreign = true
  end
  if #scored > 0 then
    redis.call('ZADD', KEYS[2], unpack(scored))
    users = users + redis.call('HSET', KEYS[3], unpack(members))
  end
  if #left > 0 then
    users = users - redis.call('HDEL', KEYS[3], unpack(left))
  end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'tail', ARGV[3], 'tip', ARGV[8], 'users', users,
  'entries', math.min((tonumber(state[5]) or 0) + 1, tonumber(ARGV[5])))
if foreign then
  redis.call('HSET', KEYS[1], 'foreign', 1)
end
return {1, tonumber(ARGV[3])}
