-- Brings a rebuilt ranking up to date and puts it in the place of the old one, whole.
-- KEYS  meta, ranking, members, stream, built ranking, built members
-- ARGV  incarnation, epoch before the snapshot was taken or '', seq of the built ranking
--       with its tail, users in it without the tail, stream field, length of the tail, the
--       tail: what the built ranking lacks, for each user id, member, negated score; then
--       the latest changes as stream entries in order: last seq, encoded changes
-- The stream is replaced only when it is missing or belongs to another history.
-- Returns {1, seq} swapped; {0, cursor, users in it} the tail is applied but the ranking
-- in place is ahead: call again with what is still lacking; {-1} the built keys are gone, or
-- another copy went into place meanwhile: build again. Users who were added change no seq, so
-- that alone cannot tell which of two copies was read later.
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation', 'tail', 'epoch')
if redis.call('ZCARD', KEYS[5]) ~= tonumber(ARGV[4]) or (state[4] or '') ~= ARGV[2] then
  return {-1}
end
local tail = 6 + tonumber(ARGV[6])
for i = 7, tail, 3 do
  local id, member = ARGV[i], ARGV[i + 1]
  local old = redis.call('HGET', KEYS[6], id)
  if old then
    redis.call('ZREM', KEYS[5], old)
  end
  redis.call('ZADD', KEYS[5], ARGV[i + 2], member)
  redis.call('HSET', KEYS[6], id, member)
end
local same = state[2] == ARGV[1]
if same and state[1] and tonumber(state[1]) > tonumber(ARGV[3]) then
  return {0, tonumber(state[1]), redis.call('ZCARD', KEYS[5])}
end
for i = 2, 3 do
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then
    redis.call('RENAME', KEYS[i + 3], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  else
    redis.call('DEL', KEYS[i])
  end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[3], 'incarnation', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
-- A stream that is there goes on from its own cursor, even when that is behind.
if not (same and state[3]) then
  redis.call('DEL', KEYS[4])
  for i = tail + 1, #ARGV, 2 do
    redis.call('XADD', KEYS[4], ARGV[i] .. '-0', ARGV[5], ARGV[i + 1])
  end
  redis.call('HSET', KEYS[1], 'tail', ARGV[3])
end
return {1, tonumber(ARGV[3])}
