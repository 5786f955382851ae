-- Takes a board that is not to be read any more out of use; its keys go with the rebuild.
-- KEYS  meta
-- ARGV  incarnation of the board that is meant; its epoch, or '' for any
local state = redis.call('HMGET', KEYS[1], 'incarnation', 'epoch')
if state[1] == ARGV[1] and (ARGV[2] == '' or state[2] == ARGV[2]) then
  redis.call('HDEL', KEYS[1], 'seq', 'tip')
end
