-- A user's place and its neighbours, read atomically.
-- KEYS  meta, ranking, members
-- ARGV  user id, places before and after
-- Returns nil when Redis has no board or not all of its users; {seq} when it does not have the
-- user; else {seq, place of the first one (0 is the best), then for each: user id, name, negated
-- score, users with a better score}.
local state = redis.call('HMGET', KEYS[1], 'seq', 'users')
local seq = state[1]
if not seq or (state[2] and redis.call('ZCARD', KEYS[2]) ~= tonumber(state[2])) then
  return nil
end
local member = redis.call('HGET', KEYS[3], ARGV[1])
local place = member and redis.call('ZRANK', KEYS[2], member)
if not place then
  return {seq}
end
local first = math.max(0, place - ARGV[2])
local answer = {seq, first}
local places = redis.call('ZRANGE', KEYS[2], first, place + ARGV[2], 'WITHSCORES')
for i = 1, #places, 2 do
  -- A member is 8 bytes, the user id in 8, and the name, see contract.ranking_member.
  answer[#answer + 1] = string.format('%.0f', (struct.unpack('>I8', places[i], 9)))
  answer[#answer + 1] = string.sub(places[i], 17)
  answer[#answer + 1] = places[i + 1]
  answer[#answer + 1] = redis.call('ZCOUNT', KEYS[2], '-inf', '(' .. places[i + 1])
end
return answer
