-- Begin a full restore: a new generation, from the start of the log, while nothing is known yet.
--
-- KEYS     position
-- ARGV     generation that must be there ('' for none); new generation, state, internal; log id; applied_at; policy;
--          layout
-- returns  {1} or {0, generation}

local at = redis.call('HMGET', KEYS[1], 'generation', 'status', 'status_since')
if (at[1] or '') ~= ARGV[1] then
  return {0, at[1]}
end
-- Whoever waits for a restore waits since the first one, however often it was begun anew.
local since = at[2] == 'restoring' and at[3] or ARGV[6]
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'state', ARGV[3], 'internal', ARGV[4], 'log_id', ARGV[5],
  'applied_at', ARGV[6], 'policy', ARGV[7], 'layout', ARGV[8], 'status', 'restoring', 'status_since', since, 'wiped', '0')
return {1}
