-- Remove keys of an earlier generation, only before anything of the present one was written.
--
-- KEYS[1]  position        KEYS[2..]  keys to remove; last one that is never there: a cluster then
--          refuses it all while it moves the slot, of which SCAN shows a part
-- ARGV     generation; '1' when these are the last
-- returns  {1} or {0, generation}

local at = redis.call('HMGET', KEYS[1], 'generation', 'wiped')
if at[1] ~= ARGV[1] or at[2] ~= '0' then
  return {0, at[1]}
end
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
if ARGV[2] == '1' then
  redis.call('HSET', KEYS[1], 'wiped', '1')
end
return {1}
