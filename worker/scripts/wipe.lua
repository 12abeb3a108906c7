-- Begin a full restore: a new generation, from the start of the log, while nothing is known yet.
--
-- KEYS     position
-- ARGV     generation that must be there ('' for none); new generation, state, internal; log id; applied_at; policy
-- returns  {1} or {0, generation}

local at = redis.call('HGET', KEYS[1], 'generation')
if (at or '') ~= ARGV[1] then
  return {0, at}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'state', ARGV[3], 'internal', ARGV[4], 'log_id', ARGV[5],
  'applied_at', ARGV[6], 'policy', ARGV[7], 'status', 'restoring', 'wiped', '0')
return {1}
