-- Guarded read: values of keys, only while the store is where the caller believes it is.
--
-- KEYS[1]  position        KEYS[2]  records        KEYS[3..]  the keys to read
-- ARGV     generation, state, internal: the position that the caller holds
-- returns  {1, value or false, ...} or {0, generation, state, internal} as they really are,
--          or {2, name}: this record, or index of them, was written, was not
--          deleted, and is not there

local at = redis.call('HMGET', KEYS[1], 'generation', 'state', 'internal')
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] or at[3] ~= ARGV[3] then
  return {0, at[1], at[2], at[3]}
end
if (tonumber(redis.call('HGET', KEYS[1], 'records')) or 0) ~= redis.call('SCARD', KEYS[2]) then
  return {2, 'records'}
end
local name_from = #KEYS[1] - #'position' + 1
local reply = {1}
for i = 3, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if not value then
    local name = string.sub(KEYS[i], name_from)
    if redis.call('SISMEMBER', KEYS[2], name) == 1 then
      return {2, name}
    end
  end
  reply[i - 1] = value
end
return reply
