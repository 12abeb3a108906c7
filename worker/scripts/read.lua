-- Guarded read: values of keys, only while the store is where the caller believes it is.
--
-- KEYS[1]  position        KEYS[2..]  the keys to read
-- ARGV     generation, state, internal: the position that the caller holds
-- returns  {1, value or false, ...} or {0, generation, state, internal} as they really are

local at = redis.call('HMGET', KEYS[1], 'generation', 'state', 'internal')
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] or at[3] ~= ARGV[3] then
  return {0, at[1], at[2], at[3]}
end
local reply = {1}
for i = 2, #KEYS do
  reply[i] = redis.call('GET', KEYS[i])
end
return reply
