-- Guarded read of the earliest deadlines.
--
-- KEYS     position, deadlines
-- ARGV     generation, state, internal; until (a score, '+inf' for any); how many at most
-- returns  {1, member, score, ...} earliest first, or {0, generation, state, internal},
--          or {2, 'deadlines'}: there are not as many as there were left, so what would fall due is not known

local at = redis.call('HMGET', KEYS[1], 'generation', 'state', 'internal')
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] or at[3] ~= ARGV[3] then
  return {0, at[1], at[2], at[3]}
end
if (tonumber(redis.call('HGET', KEYS[1], 'deadlines')) or 0) ~= redis.call('ZCARD', KEYS[2]) then
  return {2, 'deadlines'}
end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[4], 'WITHSCORES', 'LIMIT', 0, ARGV[5])
table.insert(found, 1, 1)
return found
