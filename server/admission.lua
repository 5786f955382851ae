-- Admits a batch of submissions: rate limit per user, and what an idempotency key meant before.
-- KEYS  memory (see contract.MEMORY_KEY); all others share its hash tag
-- ARGV  prefix of limits, prefix of seen keys, count, window in microseconds, the same
--       two for replays, seconds a key is remembered, items as MessagePack:
--       {submission id in hexadecimal, user id, payload, standing, whether the client chose the key},
--       seconds an id without a key is remembered, so that its outcome can be asked for
-- standing, what the caller knows already of a keyed submission: 0 nothing; 1 the ledger
--       does not have it; 2 the ledger has it, with this payload
-- Returns for each item in order two integers, a code and microseconds to wait:
--       0 admitted; 1 replay of the same payload, free; 2 key known with another payload;
--       3 limited, wait; 4 unsure: Redis does not remember long enough, ask the ledger
-- The same sliding window as scoreboard/ratelimit.py: a list of times, oldest first.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit_prefix, seen_prefix = ARGV[1], ARGV[2]
local retention, keyless_retention = tonumber(ARGV[7]), tonumber(ARGV[9])

local memory = redis.call('GET', KEYS[1])
if not memory then
  memory = time[1]
  redis.call('SET', KEYS[1], memory)
end
memory = tonumber(memory)
local remembers = memory == 0 or tonumber(time[1]) - memory > retention

local windows = {}

local function admit(key, count, window)
  local state = windows[key]
  if not state then
    local oldest = redis.call('LINDEX', key, 0)
    while oldest and tonumber(oldest) <= now - window do
      redis.call('LPOP', key)
      oldest = redis.call('LINDEX', key, 0)
    end
    state = {used = oldest and redis.call('LLEN', key) or 0, oldest = tonumber(oldest or now)}
    windows[key] = state
  end
  if state.used >= count then
    return state.oldest + window - now
  end
  state.used = state.used + 1
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, math.ceil(window / 1000))
  return 0
end

local count, window = tonumber(ARGV[3]), tonumber(ARGV[4])
local replay_count, replay_window = tonumber(ARGV[5]), tonumber(ARGV[6])
local answer = {}
for _, item in ipairs(cmsgpack.unpack(ARGV[8])) do
  local id, user, payload, standing, keyed = item[1], item[2], item[3], item[4], item[5]
  local code, wait = 0, 0
  local known = keyed and redis.call('GET', seen_prefix .. id)
  if known and known ~= payload then
    code = 2
  elseif known or standing == 2 then
    wait = admit(limit_prefix .. 'replay:' .. user, replay_count, replay_window)
    code = wait > 0 and 3 or 1
    if not known and wait == 0 then
      redis.call('SET', seen_prefix .. id, payload, 'EX', retention)
    end
  elseif keyed and standing == 0 and not remembers then
    code = 4
  else
    wait = admit(limit_prefix .. user, count, window)
    if wait > 0 then
      code = 3
    else
      redis.call('SET', seen_prefix .. id, payload, 'EX', keyed and retention or keyless_retention)
    end
  end
  answer[#answer + 1] = code
  answer[#answer + 1] = wait
end
return answer
