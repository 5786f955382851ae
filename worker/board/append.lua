-- Appends consecutive changes to the stream, or says why not.
-- KEYS  meta, stream
-- ARGV  incarnation, first seq, last seq, encoded changes, most entries to keep, field
-- Returns {1, cursor} appended; {0, cursor} not: the changes do not start right after
-- the cursor; {-1} the stream is missing or belongs to another history.
local state = redis.call('HMGET', KEYS[1], 'tail', 'incarnation')
if not state[1] or state[2] ~= ARGV[1] then
  return {-1}
end
local cursor = tonumber(state[1])
if tonumber(ARGV[2]) ~= cursor + 1 then
  return {0, cursor}
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], ARGV[3] .. '-0', ARGV[6], ARGV[4])
redis.call('HSET', KEYS[1], 'tail', ARGV[3])
return {1, tonumber(ARGV[3])}
