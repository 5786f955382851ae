-- Marks a board that a program of the version before has moved.
-- KEYS  meta, ranking, members, stream
-- ARGV  incarnation, seq, identity of the change there
local state = redis.call('HMGET', KEYS[1], 'seq', 'incarnation')
if state[1] == ARGV[2] and state[2] == ARGV[1] then
  redis.call('HSET', KEYS[1], 'tip', ARGV[3], 'users', redis.call('ZCARD', KEYS[2]),
    'entries', redis.call('XLEN', KEYS[4]))
end
