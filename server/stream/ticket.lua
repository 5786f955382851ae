-- Stores a ticket, unless its subject was given too many lately.
-- KEYS  how many the subject was given; the ticket
-- ARGV  most tickets at a time, seconds a ticket lives, what it stands for
-- Returns 1 when it is stored, else 0.
local given = redis.call('INCR', KEYS[1])
if given == 1 then
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
if given > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
return 1
