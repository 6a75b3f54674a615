-- End tasks that somebody wants no more.
--
-- KEYS  1 counters       hash
-- ARGV  1 retention of ended tasks in ms   2 the failure in msgpack   3 "1": only what is QUEUED   4... task ids
-- moves   {regrow}:task:<id>   QUEUED or RUNNING -> FAILED
-- writes  {regrow}:drops:<dispatcher>   set: "id attempt worker" of what is to be stopped, for the dispatcher that had it
-- notes   cancel
-- sends   {regrow}:done   ids that ended;   {regrow}:wake   "drops" if anything ran
-- answer  per task: 1 it is cancelled, 2 it had ended otherwise, 3 there is no such task, 4 it runs, and goes on
--
-- Its outcome, should there be one, is stale from here on.  Repeated: it is cancelled.
local counters, retention, blob, is_for_queued = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3] == "1"
local now, has_run, answer = now_ms(), false, {}

local function take_away(id, task)
  local drops = "{regrow}:drops:" .. (task.owner or "")
  redis.call("HDEL", "{regrow}:leases:" .. (task.owner or ""), id) -- first, since it frees: the rest passes at the memory limit
  redis.call("SADD", drops, id .. " " .. (number(task.attempt) or 0) .. " " .. (task.worker or ""))
  redis.call("PEXPIRE", drops, 600000)
  has_run = true
end

local function cancel(id)
  local key = TASK .. id
  local task = read_task(key)
  if not task.status then return 3 end
  if is_nonsense(task.status) then
    if task.owner then take_away(id, task) end
    condemn(id, key, task, "status", now, retention)
    return 1
  end
  local to = MOVES[task.status] and MOVES[task.status].cancel
  if not to then return redis.call("HGET", key, "kind") == "cancelled" and 1 or 2 end
  if is_for_queued and task.status ~= "QUEUED" then return 4 end
  local ending = {to = to, asked = "cancel", kind = "cancelled", blob = blob}
  if task.status == "RUNNING" then
    take_away(id, task)
    ending.history = history_with(task, "cancelled", now)
  elseif redis.call("ZREM", SCHEDULED, id) == 0 then
    count("ghosts")
  end
  finish(id, key, task, ending, now, retention)
  note(id, "cancel", task.attempt, task.status == "RUNNING" and task.worker or "", "cancelled")
  return 1
end

for at = 4, #ARGV do
  answer[#answer + 1] = cancel(ARGV[at])
end
close(counters)
if has_run then redis.call("PUBLISH", "{regrow}:wake", "drops") end
write_notes()
return answer
