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
-- The same sliding window as scoreboard/ratelimit.py: times of eight bytes, oldest first, in
-- one string for each user, since a read and a write cost less than four calls on a list.
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

local items = cmsgpack.unpack(ARGV[8])

-- Nearly all that is needed in few calls, since a call costs more than what it reads. Lua's
-- stack holds some 8,000 values. False: there is no such key; nil: it was not asked for.
local KEYS_PER_CALL = 1000
local stored = {}
local function read(keys)
  for start = 1, #keys, KEYS_PER_CALL do
    local stop = math.min(start + KEYS_PER_CALL - 1, #keys)
    for n, value in ipairs(redis.call('MGET', unpack(keys, start, stop))) do
      stored[keys[start + n - 1]] = value
    end
  end
end
local wanted = {}
for _, item in ipairs(items) do
  if item[5] then
    wanted[#wanted + 1] = seen_prefix .. item[1]
  end
  wanted[#wanted + 1] = limit_prefix .. item[2]
end
read(wanted)

local windows, touched = {}, {}
local stamp = struct.pack('<d', now)

local function admit(key, count, window)
  local state = windows[key]
  if not state then
    local times, first = stored[key], 1
    if times == nil then
      times = redis.call('GET', key)
    end
    times = times or ''
    while first < #times and struct.unpack('<d', times, first) <= now - window do
      first = first + 8
    end
    state = {times = string.sub(times, first), added = 0, window = window}
    windows[key] = state
  end
  if #state.times / 8 + state.added >= count then
    local oldest = #state.times > 0 and struct.unpack('<d', state.times, 1) or now
    return oldest + window - now
  end
  if state.added == 0 then
    touched[#touched + 1] = key
  end
  state.added = state.added + 1
  return 0
end

local count, window = tonumber(ARGV[3]), tonumber(ARGV[4])
local replay_count, replay_window = tonumber(ARGV[5]), tonumber(ARGV[6])
local answer = {}
for _, item in ipairs(items) do
  local id, user, payload, standing, keyed = item[1], item[2], item[3], item[4], item[5]
  local code, wait = 0, 0
  local known = keyed and stored[seen_prefix .. id]
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
for _, key in ipairs(touched) do
  local state = windows[key]
  local times = state.times .. string.rep(stamp, state.added)
  redis.call('SET', key, times, 'PX', math.ceil(state.window / 1000))
end
return answer
