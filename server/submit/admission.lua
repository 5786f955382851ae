-- Admits a batch of submissions: rate limit per user, and lookup of known idempotency keys.
-- KEYS  memory (see contract.MEMORY_KEY), the board's meta and members; all others share their
--       hash tag
-- ARGV  prefix of limits, prefix of seen keys, prefix of fresh ids, count, window in
--       microseconds, the same two for replays, seconds a key is remembered, seconds an id
--       without a key is remembered (so that its outcome can be asked for), items as
--       MessagePack: {submission id in hexadecimal, user id, payload, standing, bucket}
-- standing, the caller's knowledge of a keyed submission: 0 nothing; 1 the ledger
--       does not have it; 2 the ledger has it, with this payload; 3 it was not admitted a moment
--       ago for want of its user, who exists: neither limited nor looked for again
-- bucket, the hash of fresh ids for an id that the server chose; else nil
-- Returns {index, code, microseconds to wait} for each item that is not admitted, flat, and as
--       MessagePack what each item's user may still submit in the window:
--       1 replay of the same payload, free; 2 key known with another payload; 3 limited,
--       wait; 4 unsure: Redis does not remember long enough, ask the ledger; 5 the board does
--       not show the user, ask the ledger. Then since when Redis remembers, 0 if that is long
--       enough, in seconds, and its time in microseconds
-- The same sliding window as tests/model/sliding_window.py. Time is cut into epochs of one window's
-- length, and the admissions of an epoch are one hash: user to times of eight bytes, oldest
-- first. This epoch's and the one before hold all that counts; older ones expire whole.
-- One key per user would cost a call each to write it and another to expire it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit_prefix, seen_prefix, fresh_prefix = ARGV[1], ARGV[2], ARGV[3]
local retention, fresh_retention = tonumber(ARGV[8]), tonumber(ARGV[9])

local memory = redis.call('GET', KEYS[1])
if not memory then
  memory = time[1]
  redis.call('SET', KEYS[1], memory)
end
memory = tonumber(memory)
local remembers = memory == 0 or tonumber(time[1]) - memory > retention

local items = cmsgpack.unpack(ARGV[10])

-- Lua's stack has room for about 8,000 values, and each call has a fixed cost above its reads.
local AT_ONCE = 1000
local function in_parts(list, call)
  for start = 1, #list, AT_ONCE do
    call(start, math.min(start + AT_ONCE - 1, #list))
  end
end

local known, keys, asked = {}, {}, {}
for _, item in ipairs(items) do
  if not item[5] then
    keys[#keys + 1] = seen_prefix .. item[1]
    asked[#asked + 1] = item[1]
  end
end
in_parts(keys, function(start, stop)
  for n, payload in ipairs(redis.call('MGET', unpack(keys, start, stop))) do
    known[asked[start + n - 1]] = payload
  end
end)

-- One kind of limit: the windows of the requested users.
local function limiter(prefix, count, window)
  local epoch = math.floor(now / window)
  -- The key contains the window length, since the setting may change.
  local base = prefix .. string.format('%.0f', window) .. ':'
  local key = base .. string.format('%.0f', epoch)
  local before = base .. string.format('%.0f', epoch - 1)
  local states, touched = {}, {}
  local stamp = struct.pack('<d', now)
  local self = {}

  function self.read(users)
    in_parts(users, function(start, stop)
      local old = redis.call('HMGET', before, unpack(users, start, stop))
      local new = redis.call('HMGET', key, unpack(users, start, stop))
      for n = 1, stop - start + 1 do
        local times, first = old[n] or '', 1
        while first < #times and struct.unpack('<d', times, first) <= now - window do
          first = first + 8
        end
        states[users[start + n - 1]] = {before = string.sub(times, first), now = new[n] or '', added = 0}
      end
    end)
  end

  -- Microseconds until the user is admitted; 0: admitted now, and counted.
  function self.admit(user)
    if not states[user] then
      self.read({user})
    end
    local state = states[user]
    if (#state.before + #state.now) / 8 + state.added >= count then
      local oldest = #state.before > 0 and state.before or state.now
      return (#oldest > 0 and struct.unpack('<d', oldest, 1) or now) + window - now
    end
    if state.added == 0 then
      touched[#touched + 1] = user
    end
    state.added = state.added + 1
    return 0
  end

  -- Admissions that the user has left.
  function self.left(user)
    if not states[user] then
      self.read({user})
    end
    local state = states[user]
    return math.max(0, count - (#state.before + #state.now) / 8 - state.added)
  end

  function self.write()
    if #touched == 0 then
      return
    end
    local fields = {}
    for _, user in ipairs(touched) do
      local state = states[user]
      fields[#fields + 1] = user
      fields[#fields + 1] = state.now .. string.rep(stamp, state.added)
    end
    in_parts(fields, function(start, stop)
      redis.call('HSET', key, unpack(fields, start, stop))
    end)
    redis.call('PEXPIRE', key, math.ceil(2 * window / 1000))
    -- It would expire anyway, but freeing a large hash then blocks all clients.
    redis.call('UNLINK', base .. string.format('%.0f', epoch - 2))
  end

  return self
end

local limits = limiter(limit_prefix, tonumber(ARGV[4]), tonumber(ARGV[5]))
local replays = limiter(limit_prefix .. 'replay:', tonumber(ARGV[6]), tonumber(ARGV[7]))

local users, wanted = {}, {}
for _, item in ipairs(items) do
  if not wanted[item[2]] then
    wanted[item[2]] = true
    users[#users + 1] = item[2]
  end
end
limits.read(users)

-- Users whom the board does not show; none while there is no board.
local absent = {}
if redis.call('HGET', KEYS[2], 'users') then
  in_parts(users, function(start, stop)
    for n, member in ipairs(redis.call('HMGET', KEYS[3], unpack(users, start, stop))) do
      absent[users[start + n - 1]] = not member
    end
  end)
end

-- Code and microseconds to wait for a submission that was never seen.
local function admit(user, standing)
  if standing == 3 then
    return 0, 0
  end
  local wait = limits.admit(user)
  if wait > 0 then
    return 3, wait
  end
  return absent[user] and 5 or 0, 0
end

local fresh, answer, quotas = {}, {}, {}
for index, item in ipairs(items) do
  local id, user, payload, standing, bucket = item[1], item[2], item[3], item[4], item[5]
  local code, wait = 0, 0
  if bucket then
    code, wait = admit(user, standing)
    if code == 0 then
      local fields = fresh[bucket] or {}
      fresh[bucket] = fields
      fields[#fields + 1] = id
      fields[#fields + 1] = payload
    end
  elseif known[id] and known[id] ~= payload and standing ~= 2 then
    -- What was known before Redis lost its keys counts for more.
    code = (remembers or standing == 1) and 2 or 4
  elseif known[id] or standing == 2 then
    wait = replays.admit(user)
    code = wait > 0 and 3 or 1
    if known[id] ~= payload and wait == 0 then
      redis.call('SET', seen_prefix .. id, payload, 'EX', retention)
    end
  elseif standing == 0 and not remembers then
    code = 4
  else
    code, wait = admit(user, standing)
    if code == 0 then
      redis.call('SET', seen_prefix .. id, payload, 'EX', retention)
    end
  end
  quotas[index] = limits.left(user)
  if code > 0 then
    answer[#answer + 1] = index
    answer[#answer + 1] = code
    answer[#answer + 1] = wait
  end
end
limits.write()
replays.write()
for bucket, fields in pairs(fresh) do
  in_parts(fields, function(start, stop)
    redis.call('HSET', fresh_prefix .. bucket, unpack(fields, start, stop))
  end)
  redis.call('EXPIRE', fresh_prefix .. bucket, fresh_retention)
end
return {answer, cmsgpack.pack(quotas), remembers and 0 or memory, now}
