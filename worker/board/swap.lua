-- Replaces the ranking by a rebuilt one atomically, at the same change.
-- KEYS  meta, ranking, members, stream, built ranking, built members
-- ARGV  incarnation, epoch before the snapshot was taken or '', seq of the built ranking, seq of
--       it with all later changes below, users in it, stream field, field of the identity before,
--       identity at the seq of the built ranking, length of the part that follows: the changes
--       that the built ranking lacks, in order: seq, user id, member or '' for one who has left, negated score, identity;
--       then the latest changes as stream entries in order: last seq, identity before, encoded
--       changes
-- A board of the same history keeps its stream and its cursor: only changes up to that are
-- applied, so ranking and stream stay at one change. Any other board is replaced whole.
-- Returns {1, seq, users before, users now} swapped; {0, cursor, users in it} all changes are applied but the ranking
-- in place is ahead: call again with the missing changes; {-1} the built keys are gone, the
-- board fell behind the built ranking, or another copy went into place meanwhile: build again;
-- {-2} the board in place stands at another change of the same number.
-- Users who were added change no seq, so that alone cannot tell which copy was read later.
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation', 'epoch', 'tip')
if redis.call('ZCARD', KEYS[5]) ~= tonumber(ARGV[5]) or (state[3] or '') ~= ARGV[2] then
  return {-1}
end
local last = tonumber(ARGV[4])
local cursor = state[1] and tonumber(state[1])
local same = cursor and state[2] == ARGV[1]
local upto = same and cursor or last
if upto < tonumber(ARGV[3]) then
  return {-1}
end
local tip = ARGV[8]
local changes_end = 9 + tonumber(ARGV[9])
for i = 10, changes_end, 5 do
  if tonumber(ARGV[i]) > upto then
    break
  end
  local id, member = ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', KEYS[6], id)
  if old then
    redis.call('ZREM', KEYS[5], old)
  end
  if member == '' then
    redis.call('HDEL', KEYS[6], id)
  else
    redis.call('ZADD', KEYS[5], ARGV[i + 3], member)
    redis.call('HSET', KEYS[6], id, member)
  end
  tip = ARGV[i + 4]
end
if upto > last then
  return {0, upto, redis.call('ZCARD', KEYS[5])}
end
if same and tip ~= state[4] then
  return {-2}
end
local had = same and redis.call('ZCARD', KEYS[2]) or 0
for i = 2, 3 do
  if redis.call('EXISTS', KEYS[i + 3]) == 1 then
    redis.call('RENAME', KEYS[i + 3], KEYS[i])
    redis.call('PERSIST', KEYS[i])
  else
    redis.call('DEL', KEYS[i])
  end
end
if not same then
  redis.call('DEL', KEYS[4])
  for i = changes_end + 1, #ARGV, 3 do
    redis.call('XADD', KEYS[4], ARGV[i] .. '-0', ARGV[6], ARGV[i + 2], ARGV[7], ARGV[i + 1])
  end
  redis.call('HSET', KEYS[1], 'entries', redis.call('XLEN', KEYS[4]))
  redis.call('HDEL', KEYS[1], 'foreign')
end
local has = redis.call('ZCARD', KEYS[2])
-- Not HINCRBY, which fails on what somebody else wrote there.
local epoch = string.match(ARGV[2], '^%d+$') and #ARGV[2] < 16 and tonumber(ARGV[2]) or 0
redis.call('HSET', KEYS[1], 'seq', upto, 'tail', upto, 'incarnation', ARGV[1], 'tip', tip,
  'users', has, 'epoch', string.format('%.0f', epoch + 1))
return {1, upto, had, has}
