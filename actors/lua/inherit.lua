-- Take over the leases of a dispatcher that has fallen silent.
--
-- KEYS  1 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       2 leases of the silent one     3 leases of the heir      both hash: task id -> attempt
-- ARGV  1 the silent one   2 the heir   3 ms after which a dispatcher is silent   4 most leases to take at once
-- writes  {regrow}:task:<id>   owner = the heir, inherited = 1: the loss of its dispatcher counts against no task
-- notes   inherit, why: the silent one
-- answer  leases still to be taken, then per lease: task id, attempt, worker, digest
--
-- A dispatcher that has shown life in time keeps what it has: the answer is 0 and nothing.
-- Repeated: what the first call took is among the heir's leases, where the heir finds it.
local beats, from, to = KEYS[1], KEYS[2], KEYS[3]
local now = now_ms()
local last = redis.call("ZSCORE", beats, ARGV[1])
if ARGV[1] == ARGV[2] or (last and now - last <= tonumber(ARGV[3])) then return {0} end

local answer, given, taken = {0}, {}, {}
local leases = redis.call("HGETALL", from)
for at = 1, math.min(#leases, 2 * ARGV[4]), 2 do
  local id, attempt = leases[at], leases[at + 1]
  local task = redis.call("HMGET", TASK .. id, "status", "owner", "attempt", "worker", "digest")
  given[#given + 1] = id
  if task[1] == "RUNNING" and task[2] == ARGV[1] and task[3] == attempt then
    if #taken == 0 then redis.call("HDEL", from, id) end
    redis.call("HSET", TASK .. id, "owner", ARGV[2], "inherited", 1)
    taken[#taken + 1] = id
    note(id, "inherit", attempt, task[4], ARGV[1])
    taken[#taken + 1] = attempt
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = id, tonumber(attempt), task[4], task[5]
  end
end
if #given > 0 then redis.call("HDEL", from, unpack(given)) end
if #taken > 0 then redis.call("HSET", to, unpack(taken)) end
write_notes()
answer[1] = redis.call("HLEN", from)
return answer
