-- Stores a ticket, unless its subject has reached its limit.
-- KEYS  count of the subject's tickets; the ticket
-- ARGV  maximum tickets at a time, lifetime of a ticket in seconds, value of the ticket
-- Returns 1 when the ticket is stored, else 0.
local given = redis.call('INCR', KEYS[1])
if given == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
if given > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
return 1
