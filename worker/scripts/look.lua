-- What Redis has of some records, their places in the indexes, and the position at that moment: for whoever verifies.
--
-- It is not guarded: the position is told together with what is there, and whoever asks follows the log to exactly there.
-- What is of another type than it should be is told as not there.
--
-- KEYS[1]  position        KEYS[2]  deadlines        KEYS[3]  records
-- KEYS[4..] unfinished:<state> of each state that has one
-- KEYS[..] the records' keys, and for each tenant a block of keys: runs:<tenant>, then runs:<tenant>:<state> of each state
-- ARGV[1..2]  number of states; number of those with unfinished:<state>
-- ARGV[..]    for each record:
--   'run',    key, block, run id, <tenant>/<run>     key and block: indexes into KEYS
--   'record', key, member
-- returns  {{field, value, ...} of the position, size of deadlines, size of records}, then for each record
--   {value or false, 1 if it is in records else 0, ...} and
--   for a run  {score in runs:<tenant> or false}, {state, score, ...}, {unfinished state, score, ...}, states counted from 1
--   else       its deadline or false

local function ask(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    return false
  end
  return answer
end

local states, unfinished = tonumber(ARGV[1]), tonumber(ARGV[2])
local name_from = #KEYS[1] - #'position' + 1

local function places(first, number, member)
  local found = {}
  for s = 1, number do
    local score = ask('ZSCORE', KEYS[first + s], member)
    if score then
      found[#found + 1] = s
      found[#found + 1] = score
    end
  end
  return found
end

local reply = {{ask('HGETALL', KEYS[1]) or {}, ask('ZCARD', KEYS[2]) or 0, ask('SCARD', KEYS[3]) or 0}}
local i = 3
while i <= #ARGV do
  local key = KEYS[tonumber(ARGV[i + 1])]
  local seen = {ask('GET', key), ask('SISMEMBER', KEYS[3], string.sub(key, name_from)) or 0}
  if ARGV[i] == 'run' then
    local block = tonumber(ARGV[i + 2])
    seen[3] = ask('ZSCORE', KEYS[block], ARGV[i + 3])
    seen[4] = places(block, states, ARGV[i + 3])
    seen[5] = places(3, unfinished, ARGV[i + 4])
    i = i + 5
  else
    seen[3] = ask('ZSCORE', KEYS[2], ARGV[i + 2])
    i = i + 3
  end
  reply[#reply + 1] = seen
end
return reply
