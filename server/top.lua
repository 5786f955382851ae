-- A page of the board and the seq it belongs to, of one moment.
-- KEYS  meta, ranking, names
-- ARGV  first place, last place (0 is the best)
-- Returns nil when Redis has no board, else {seq, name, negated score, name, ...}.
local seq = redis.call('HGET', KEYS[1], 'seq')
if not seq then
  return nil
end
local answer = {seq}
local places = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'WITHSCORES')
for i = 1, #places, 2 do
  -- A member ends with the user id in 8 bytes, see contract.ranking_member.
  local id = struct.unpack('>I8', places[i], 9)
  local name = redis.call('HGET', KEYS[3], string.format('%.0f', id))
  if not name then
    return nil
  end
  answer[#answer + 1] = name
  answer[#answer + 1] = places[i + 1]
end
return answer
