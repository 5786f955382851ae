-- A page of the board and its seq, read atomically.
-- KEYS  meta, ranking
-- ARGV  first place, last place (0 is the best)
-- Returns nil when Redis has no board or not all of its users, else {seq, user id, name, negated
-- score, user id, ...}.
local state = redis.call('HMGET', KEYS[1], 'seq', 'users')
local seq = state[1]
if not seq or (state[2] and redis.call('ZCARD', KEYS[2]) ~= tonumber(state[2])) then
  return nil
end
local answer = {seq}
local places = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
for i = 1, #places, 2 do
  -- A member is 8 bytes, the user id in 8, and the name, see contract.ranking_member.
  answer[#answer + 1] = string.format('%.0f', (struct.unpack('>I8', places[i], 9)))
  answer[#answer + 1] = string.sub(places[i], 17)
  answer[#answer + 1] = places[i + 1]
end
return answer
