-- Put tasks back where somebody will look; the end of a search for those that were not.
--
-- KEYS  1 queue   2 counters   3 beats
-- ARGV  1 dispatcher that asks   2 retention of ended tasks in ms   3 ms after which a dispatcher is silent
--       4 "1": the search is over; then of the search: 5 vanished and 6 missing when it began   7 put back by its former calls
--       8 ms for which no other one is to begin
--       9... per suspect: id, mark (see scan.lua).  None of those that are QUEUED was in the queue at any time between
--            two looks at it with this mark, so where the mark is still the same, it is not there now
-- moves   {regrow}:task:<id>   QUEUED -> the front of the queue
--                              RUNNING -> under a lease of its owner, or where that is no more, of who asks (owner; inherited = 2)
--                              either -> FAILED, where the record is damaged too
-- writes  {regrow}:search      hash: where a search left off, see keys.py
-- notes   found, and ends
-- answer  queued again, put under a lease again, ended
--
-- Nobody's lease is taken away, and what becomes of a lease is judged by its dispatcher as always: it reads its leases again.
-- So a task that may not start twice is not, and an attempt that runs after all may end well.
-- Repeated: what was put back is not missing any more.
local queue, counters, beats, us = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local retention, silent = tonumber(ARGV[2]), tonumber(ARGV[3])
local PUT_BACK = 2 -- in "inherited": its loss counts against no task, and its worker is not taken to be ours
local LEASES = "{regrow}:leases:"
local FACTS = {"owner", "worker", unpack(SEALED)}
local now, requeued, leased, condemned = now_ms(), {}, 0, 0
local holders = redis.call("ZRANGE", beats, 0, -1)
redis.call("HDEL", SEARCH, "") -- a first write that frees: the rest then passes at the memory limit too

local function is_held(id)
  for _, holder in ipairs(holders) do
    if redis.call("HEXISTS", LEASES .. holder, id) == 1 then return true end
  end
  return redis.call("ZSCORE", SCHEDULED, id) and true
end

-- Of its owner, who may have it in hand; where that one is silent or unknown, of us.
local function lease(id, key, task)
  local owner = task.owner or ""
  local last = redis.call("ZSCORE", beats, owner)
  if not last or now - last > silent then
    redis.call("HDEL", LEASES .. owner, id)
    owner = us
    redis.call("ZADD", beats, now, us) -- who has leases is known, as after a claim
  end
  redis.call("HSET", key, "owner", owner, "inherited", PUT_BACK)
  redis.call("HSET", LEASES .. owner, id, task.attempt)
  redis.call("HSET", SEARCH, "leases:" .. owner, 1)
  note(id, "found", task.attempt, task.worker, owner)
  count("found:leased")
  leased = leased + 1
end

local function mend(id, mark)
  local key = TASK .. id
  if redis.call("PTTL", key) ~= -1 then return end
  local task = fetch(key, FACTS)
  if task.status .. " " .. (task.attempt or "") ~= mark or FINAL[task.status] or is_held(id) then return end
  if is_nonsense(task.status) or not is_whole(task) then
    condemn(id, key, task, "it was in no queue, and its seal or status is broken", now, retention,
      task.status == "RUNNING" and "fail" or nil)
    condemned = condemned + 1
  elseif task.status == "RUNNING" then
    lease(id, key, task)
  else
    requeued[#requeued + 1] = id
    note(id, "found", task.attempt, "", "")
    count("found:queued")
  end
end

for at = 9, #ARGV, 2 do
  mend(ARGV[at], ARGV[at + 1])
end

for at = #requeued, 1, -1 do redis.call("LPUSH", queue, requeued[at]) end
if #requeued > 0 then redis.call("PUBLISH", "{regrow}:wake", #requeued) end
close(counters)
write_notes()
if ARGV[4] == "1" then
  local left = ARGV[6] - ARGV[7] - #requeued - leased - condemned
  redis.call("HDEL", SEARCH, "by", "until")
  redis.call("HSET", SEARCH, "vanished", ARGV[5], "missing", math.max(0, left), "not_before", now + ARGV[8])
end
return {#requeued, leased, condemned}
