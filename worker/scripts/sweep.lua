-- Remove keys of an earlier generation, only before anything of the present one was written; with the last of them the
-- new generation begins.
--
-- `wiped` counts the sweeps downwards until the last one makes it 1: a store that has gone back meanwhile has again what
-- was swept already, and would not be swept of it.
--
-- KEYS[1]  position        KEYS[2..]  keys to remove; last one that is never there: a cluster then
--          refuses it all while it moves the slot, of which SCAN shows a part
-- ARGV     generation; wiped as it must be; as it becomes
-- returns  {1} or {0, generation}

local at = redis.call('HMGET', KEYS[1], 'generation', 'wiped')
if at[1] ~= ARGV[1] .. '-wiping' or at[2] ~= ARGV[2] then
  return {0, at[1]}
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
redis.call('HSET', KEYS[1], 'wiped', ARGV[3])
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'generation', ARGV[1])
end
return {1}
