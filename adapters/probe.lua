-- Runs every command of ARGV once, on keys that nothing else uses: what Redis refuses here, as a
-- replica, without memory or for want of a right, it refuses to the process that asks.
--
-- KEYS: a string, a hash, a sorted set, a stream, a key to rename, its new name.
-- Returns {command, error, command, error, ...} of those that failed.
local text, hash, set, stream, from, to = unpack(KEYS)
local arguments = {
  set = {text, '1'},
  get = {text},
  mget = {text},
  getdel = {text},
  exists = {text},
  incr = {text},
  expire = {text, 60},
  pexpire = {text, 60000},
  persist = {text},
  del = {text},
  unlink = {text},
  rename = {from, to},
  hset = {hash, 'a', '1'},
  hget = {hash, 'a'},
  hmget = {hash, 'a'},
  hvals = {hash},
  hlen = {hash},
  hexists = {hash, 'a'},
  hincrby = {hash, 'a', 1},
  hdel = {hash, 'a'},
  zadd = {set, 1, 'a'},
  zcard = {set},
  zcount = {set, 0, 1},
  zrange = {set, 0, 0},
  zrangebyscore = {set, 0, 1},
  zrank = {set, 'a'},
  zscore = {set, 'a'},
  zrem = {set, 'a'},
  zremrangebyscore = {set, 0, 1},
  zremrangebyrank = {set, 0, -1},
  xadd = {stream, 'MAXLEN', 1, '*', 'a', '1'},
  xlen = {stream},
  xread = {'COUNT', 1, 'STREAMS', stream, '0'},
  xrange = {stream, '-', '+', 'COUNT', 1},
  xrevrange = {stream, '+', '-', 'COUNT', 1},
  publish = {ARGV[1], ''},
  time = {},
}
local failed = {}
local function try(command)
  local reply = redis.pcall(command, unpack(arguments[command]))
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = command
    failed[#failed + 1] = reply.err
  end
end
redis.pcall('SET', from, '1')
for index = 2, #ARGV do
  try(ARGV[index])
end
for _, key in ipairs(KEYS) do
  redis.pcall('PEXPIRE', key, 60000)
end
return failed
