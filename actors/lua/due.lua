-- Do what time has brought: queue what has waited for its time, end what is overdue, forget functions that nobody uses.
--
-- KEYS  1 queue   2 counters
-- ARGV  1 retention of ended tasks in ms   2 most of each kind in one call
-- moves   {regrow}:task:<id>   QUEUED -> FAILED where its time is over; scheduled ones go to the end of the queue
-- writes  {regrow}:function:<function id> and what belongs to it: deleted, when it has not been used for its ttl
--         {regrow}:dead        without those that ended so long ago that their records have gone
--         {regrow}:gone        set: functions whose official record is still to be deleted
-- notes   due, expire
-- sends   {regrow}:wake, {regrow}:done
-- answer  tasks queued, ms until it is to be asked again (-1: nothing waits), then the functions in {regrow}:gone
--
-- A running task is stopped by its worker when its deadline comes; here it is looked at again later, should it have been
-- queued again meanwhile.  Repeated: only time goes on.
local queue, counters, retention, most = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local TIMERS, GONE, LOOK_AGAIN = "{regrow}:function_timers", "{regrow}:gone", 5000
local now, moved = now_ms(), {}

local function due(timers)
  return redis.call("ZRANGEBYSCORE", timers, "-inf", now, "LIMIT", 0, most)
end

for _, id in ipairs(due(SCHEDULED)) do
  redis.call("ZREM", SCHEDULED, id)
  local task = fetch(TASK .. id, {"status", "attempt"})
  if task.status and not FINAL[task.status] then -- a damaged one ends when it is claimed
    moved[#moved + 1] = id
    note(id, "due", task.attempt, "", "")
  elseif not task.status then
    count("vanished")
  end
end
if #moved > 0 then
  redis.call("RPUSH", queue, unpack(moved))
  redis.call("PUBLISH", "{regrow}:wake", #moved)
end

for _, id in ipairs(due(DEADLINES)) do
  local key = TASK .. id
  local task = read_task(key)
  redis.call("ZREM", DEADLINES, id)
  if task.status == "QUEUED" and is_overdue(task, now) then
    if redis.call("ZREM", SCHEDULED, id) == 0 then count("ghosts") end
    expire(id, key, task, now, retention)
  elseif (task.status == "QUEUED" or task.status == "RUNNING") and number(task.deadline) then
    redis.call("ZADD", DEADLINES, math.max(number(task.deadline), now + LOOK_AGAIN), id)
  end
end

for _, id in ipairs(due(TIMERS)) do
  redis.call("ZREM", TIMERS, id)
  forget_function(id)
  redis.call("SADD", GONE, id)
end

redis.call("ZREMRANGEBYSCORE", DEAD, "-inf", now - retention)
close(counters)
write_notes()
local soonest
for _, timers in ipairs({SCHEDULED, DEADLINES, TIMERS}) do
  local first = redis.call("ZRANGE", timers, 0, 0, "WITHSCORES")
  if first[2] and (not soonest or tonumber(first[2]) < soonest) then soonest = tonumber(first[2]) end
end
local oldest = redis.call("ZRANGE", DEAD, 0, 0, "WITHSCORES")[2]
if oldest then soonest = math.min(oldest + retention, soonest or math.huge) end
local answer = {#moved, soonest and math.max(0, soonest - now) or -1}
for _, id in ipairs(redis.call("SMEMBERS", GONE)) do answer[#answer + 1] = id end
return answer
