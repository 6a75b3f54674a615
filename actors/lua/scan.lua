-- Look through some keys for tasks that have not ended and may be where nobody looks.  Changes nothing.
--
-- KEYS  1 scheduled      sorted set: task id -> when it is to be queued
--       2 beats          sorted set: dispatcher -> last sign of life
-- ARGV  1 cursor ("0": from the beginning)   2 about how many keys
-- reads   {regrow}:task:<id>, {regrow}:leases:<dispatcher>
-- answer  next cursor ("0": that was all), tasks looked at, then per suspect: id, mark
--
-- Suspect is what is RUNNING without a lease of its owner, or with one of an owner that nobody knows; and what is QUEUED (or
-- has a status that makes no sense) and not scheduled: whether the queue has it is told by a walk through the queue, later.
-- The mark is its status and attempt: who sees the same mark again knows that nothing has moved it in between.
local scheduled, beats = KEYS[1], KEYS[2]
local FINAL = {COMPLETED = true, FAILED = true}
local page = redis.call("SCAN", ARGV[1], "MATCH", TASK .. "*", "COUNT", ARGV[2])
local answer, known = {page[1], #page[2]}, {}

local function is_known(owner)
  if known[owner] == nil then known[owner] = redis.call("ZSCORE", beats, owner) and true or false end
  return known[owner]
end

for _, key in ipairs(page[2]) do
  local id = key:sub(#TASK + 1)
  local task = redis.pcall("HMGET", key, "status", "attempt", "owner")
  local status = not task.err and task[1] or "?"
  if not FINAL[status] and redis.call("PTTL", key) == -1 then -- what has ended expires, whatever it says
    local owner, is_suspect = not task.err and task[3] or "", false
    if status == "RUNNING" then
      is_suspect = not is_known(owner) or redis.call("HEXISTS", "{regrow}:leases:" .. owner, id) == 0
    else
      is_suspect = not redis.call("ZSCORE", scheduled, id)
    end
    if is_suspect then
      answer[#answer + 1] = id
      answer[#answer + 1] = status .. " " .. (not task.err and task[2] or "")
    end
  end
end
return answer
