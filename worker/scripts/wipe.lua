-- Begin a full restore: a new generation, from the start of the log, while nothing is known yet.
--
-- KEYS     position; one that is never there: a cluster then refuses it all while it moves the slot
-- ARGV     generation that must be there ('' for no position, or none that can be read); new generation, state,
--          internal; log id; applied_at; policy; layout
-- returns  {1} or {0, generation}

local at = redis.call('HMGET', KEYS[1], 'generation', 'status', 'status_since', 'wiped', 'log_id')

-- As `RedisStore.status` reads it. A position that cannot be read is nobody's; one that can be has been set meanwhile.
local function is_readable()
  for _, number in ipairs(redis.call('HMGET', KEYS[1], 'state', 'internal', 'applied_at', 'policy')) do
    if not (number and string.match(number, '^-?%d+$')) then
      return false
    end
  end
  local layout = redis.call('HGET', KEYS[1], 'layout')
  return at[1] and at[2] and at[4] and at[5] and (not layout or string.match(layout, '^-?%d+$'))
end

if ARGV[1] == '' then
  if is_readable() then
    return {0, at[1]}
  end
elseif at[1] ~= ARGV[1] then
  return {0, at[1]}
end
-- Whoever waits for a restore waits since the first one, however often it was begun anew.
local since = at[2] == 'restoring' and at[3] or ARGV[6]
redis.call('DEL', KEYS[1])
-- While what was there is removed, readers still see some of it: that is no part of the new generation, in which
-- revisions begin again (sweep.lua).
redis.call('HSET', KEYS[1], 'generation', ARGV[2] .. '-wiping', 'state', ARGV[3], 'internal', ARGV[4], 'log_id', ARGV[5],
  'applied_at', ARGV[6], 'policy', ARGV[7], 'layout', ARGV[8], 'status', 'restoring', 'status_since', since, 'wiped', '0')
return {1}
