-- Order a full restore of a partition: nothing but the position is changed, and it is everybody's to notice.
--
-- The position takes a generation that nobody holds, so its owner is refused by the next script that it calls, takes the
-- partition over and finds the order; whoever takes it over instead finds it as well. `wiped` is 0 for versions
-- that do not know of orders: to them it is a restore that was not finished. The first step of the restore (wipe.lua)
-- removes the order with the rest of the position, so one that is still there was not begun.
--
-- KEYS     position; one that is never there: a cluster then refuses it all while it moves the slot
-- ARGV     generation that nobody holds; who ordered it; now in ms
-- returns  {1, generation before}, {2, generation} if such an order is there already, or {0} if there is no position to
--          change: whoever takes the partition over restores it in full without being told

local at = redis.pcall('HMGET', KEYS[1], 'generation', 'status', 'status_since', 'ordered')
if at.err then
  -- Something else lies under this name, which no worker could get past.
  redis.call('DEL', KEYS[1])
  return {0}
elseif not at[1] then
  return {0}
elseif at[4] then
  return {2, at[1]}
end
local since = at[2] == 'restoring' and at[3] or ARGV[3]
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'status', 'restoring', 'status_since', since, 'wiped', '0',
  'ordered', ARGV[2])
return {1, at[1]}
