-- Counts event streams per holder over all API processes, and admits new ones.
-- KEYS  the live processes (sorted set: process, end of its lease in microseconds)
-- ARGV  prefix of each process' counts, this process, lease in milliseconds, and as
--       MessagePack: whether this process tells all of its counts; its counts that
--       changed {holder, count, ...}; the requests {{holder, limit, ...}, ...}
-- Returns {1 when Redis knew this process and its counts, else 0; then for each request 0 when it
-- was admitted and counted, else the place (from 1) of the holder that is at its limit}.
-- The counts of a process whose lease has expired no longer apply.
local prefix, me, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local everything, changed, asks = unpack(cmsgpack.unpack(ARGV[4]))
local own = prefix .. me
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('DEL', prefix .. process)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local known = redis.call('ZSCORE', KEYS[1], me) and redis.call('HEXISTS', own, '') == 1

if everything then
  redis.call('DEL', own)
end
-- A field of no holder, so that the hash exists even with no streams.
redis.call('HSET', own, '', 0)
for i = 1, #changed, 2 do
  if changed[i + 1] > 0 then
    redis.call('HSET', own, changed[i], changed[i + 1])
  else
    redis.call('HDEL', own, changed[i])
  end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease * 1000), me)
redis.call('PEXPIRE', own, lease)
redis.call('PEXPIRE', KEYS[1], lease)

local processes = redis.call('ZRANGE', KEYS[1], 0, -1)
local function held(holder)
  local total = 0
  for _, process in ipairs(processes) do
    total = total + (tonumber(redis.call('HGET', prefix .. process, holder)) or 0)
  end
  return total
end

local answer = {(known or everything) and 1 or 0}
for _, ask in ipairs(asks) do
  local full = 0
  for i = 1, #ask, 2 do
    if full == 0 and held(ask[i]) >= ask[i + 1] then
      full = (i + 1) / 2
    end
  end
  if full == 0 then
    for i = 1, #ask, 2 do
      redis.call('HINCRBY', own, ask[i], 1)
    end
  end
  answer[#answer + 1] = full
end
return answer
