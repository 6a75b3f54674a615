-- Take over the leases of a dispatcher that has fallen silent.
--
-- KEYS  1 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       2 leases of the silent one     3 leases of the heir      both hash: task id -> attempt
-- ARGV  1 the silent one   2 the heir   3 ms after which a dispatcher is silent   4 most leases to take at once
--       5 the heir's series: a call of its former incarnation, which arrives late, takes nothing (fence.lua)
-- writes  {regrow}:task:<id>   owner = the heir, inherited = 1: the loss of its dispatcher counts against no task
-- notes   inherit, why: the silent one
-- answer  leases still to be taken, then per lease: task id, attempt, worker, digest
--
-- A dispatcher that has shown life in time keeps what it has: the answer is 0 and nothing.
-- Repeated: what the first call took is among the heir's leases, where the heir finds it.
local beats, from, to = KEYS[1], KEYS[2], KEYS[3]
local now = now_ms()
local last = redis.call("ZSCORE", beats, ARGV[1])
local begun = redis.call("GET", "{regrow}:series:" .. ARGV[2])
if begun and begun ~= ARGV[5] then return {0} end
if ARGV[1] == ARGV[2] or (last and now - last <= tonumber(ARGV[3])) then return {0} end

-- Whatever else its record says: where record and lease disagree, one of the two is damaged, and the heir's settlement ends it.
local function is_open(id, task)
  if task.err or task[1] == "COMPLETED" or task[1] == "FAILED" then return false end
  return task[1] or redis.call("EXISTS", TASK .. id) == 1
end

local answer, given, taken = {0}, {}, {}
local leases = redis.call("HGETALL", from)
for at = 1, math.min(#leases, 2 * ARGV[4]), 2 do
  local id, attempt = leases[at], leases[at + 1]
  local task = redis.pcall("HMGET", TASK .. id, "status", "owner", "attempt", "worker", "digest")
  attempt = number(task[3]) or number(attempt) or 0
  given[#given + 1] = id
  if is_open(id, task) then
    if #taken == 0 then redis.call("HDEL", from, id) end
    redis.call("HSET", TASK .. id, "owner", ARGV[2], "inherited", 1)
    taken[#taken + 1] = id
    note(id, "inherit", attempt, task[4] or "", ARGV[1])
    taken[#taken + 1] = attempt
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = id, attempt, task[4] or "", task[5] or ""
  end
end
if #given > 0 then redis.call("HDEL", from, unpack(given)) end
if #taken > 0 then
  redis.call("HSET", to, unpack(taken))
  redis.call("ZADD", beats, now, ARGV[2]) -- who has leases is known, as after a claim
end
write_notes()
answer[1] = redis.call("HLEN", from)
return answer
