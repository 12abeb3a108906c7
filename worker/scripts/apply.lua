-- Apply records of the compacted topics and move the position, at once or not at all.
--
-- Whoever passes the check holds what the log says behind exactly this position, so it does not matter who it is.
--
-- KEYS[1]  position        KEYS[2]  deadlines        KEYS[3]  records
-- KEYS[4..] unfinished:<state> of each state that has one
-- KEYS[..] the records' keys, and for each tenant a block of keys: runs:<tenant>, then runs:<tenant>:<state> of each state;
--          last one that is never there: a cluster then refuses it all while it moves the slot
-- ARGV[1..3]  generation, state, internal that the store must be at
-- ARGV[4..10] state, internal to move to; status; applied_at; policy, committed offsets ('' leaves them);
--             number of states; number of those with unfinished:<state>
-- ARGV[..]    operations:
--   'run',      key, block, run id, <tenant>/<run>, value, index of its state, of its unfinished:<state> (0: in none),
--               changed_at     key and block: indexes into KEYS; the others count from 1
--   'no-run',   key, block, run id, <tenant>/<run>
--   'record',   key, member, value, deadline or ''
--   'no-record', key, member
-- returns  {1}, or {0, generation, state, internal}, or {2, name}: this index is not as it was left

local at = redis.call('HMGET', KEYS[1], 'generation', 'state', 'internal', 'status')
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] or at[3] ~= ARGV[3] then
  return {0, at[1], at[2], at[3]}
end

-- An index that was lost is missed by its size; to write on would hide it.
local sizes = redis.call('HMGET', KEYS[1], 'deadlines', 'records')
if (tonumber(sizes[1]) or 0) ~= redis.call('ZCARD', KEYS[2]) then
  return {2, 'deadlines'}
elseif (tonumber(sizes[2]) or 0) ~= redis.call('SCARD', KEYS[3]) then
  return {2, 'records'}
end

local states, unfinished = tonumber(ARGV[10]), tonumber(ARGV[11])

-- A run is in the set of exactly one state, and in one of the unfinished at most; where it was before need not be known.
local function leave(first, number, member, stays)
  for s = 1, number do
    if s ~= stays then
      redis.call('ZREM', KEYS[first + s], member)
    end
  end
end

-- Which records there are is written down beside them: so one that was lost is told from one that never was (read.lua).
local name_from = #KEYS[1] - #'position' + 1

local i = 12
while i <= #ARGV do
  local what = ARGV[i]
  local key = KEYS[tonumber(ARGV[i + 1])]
  if what == 'run' then
    local block, id, member = tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
    local state, awaited, changed_at = tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7]), ARGV[i + 8]
    redis.call('SET', key, ARGV[i + 5])
    redis.call('SADD', KEYS[3], string.sub(key, name_from))
    leave(block, states, id, state)
    redis.call('ZADD', KEYS[block], changed_at, id)
    redis.call('ZADD', KEYS[block + state], changed_at, id)
    leave(3, unfinished, member, awaited)
    if awaited > 0 then
      redis.call('ZADD', KEYS[3 + awaited], changed_at, member)
    end
    i = i + 9
  elseif what == 'no-run' then
    local block, id = tonumber(ARGV[i + 2]), ARGV[i + 3]
    redis.call('DEL', key)
    redis.call('SREM', KEYS[3], string.sub(key, name_from))
    leave(block, states, id, 0)
    redis.call('ZREM', KEYS[block], id)
    leave(3, unfinished, ARGV[i + 4], 0)
    i = i + 5
  elseif what == 'record' then
    redis.call('SET', key, ARGV[i + 3])
    redis.call('SADD', KEYS[3], string.sub(key, name_from))
    if ARGV[i + 4] == '' then
      redis.call('ZREM', KEYS[2], ARGV[i + 2])
    else
      redis.call('ZADD', KEYS[2], ARGV[i + 4], ARGV[i + 2])
    end
    i = i + 5
  else
    redis.call('DEL', key)
    redis.call('SREM', KEYS[3], string.sub(key, name_from))
    redis.call('ZREM', KEYS[2], ARGV[i + 2])
    i = i + 3
  end
end

redis.call('HSET', KEYS[1], 'state', ARGV[4], 'internal', ARGV[5], 'status', ARGV[6], 'applied_at', ARGV[7],
  'deadlines', redis.call('ZCARD', KEYS[2]), 'records', redis.call('SCARD', KEYS[3]))
if at[4] ~= ARGV[6] then
  redis.call('HSET', KEYS[1], 'status_since', ARGV[7])
end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'policy', ARGV[8])
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'offsets', ARGV[9])
end
return {1}
