-- Write how attempts ended, each only if it is the current one of the dispatcher that asks.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 leases         hash of this dispatcher: task id -> attempt
--       3 counters       hash
-- ARGV  1 dispatcher   2 retention of ended tasks in ms   3 lost workers after which a task ends
--       4... per settlement: task id, attempt, move, kind, blob
--            kind: "completed" or a failure's kind     blob: the value, or the failure in msgpack ("" with give_back)
-- moves   {regrow}:task:<id>   RUNNING -> COMPLETED, FAILED, or QUEUED at the front in the order given
-- notes   the move that was made (crash and lose_worker, or the give_up that they came to), and its kind
-- sends   {regrow}:done        ids that ended, space-separated;   {regrow}:wake   if anything was queued again
-- answer  per settlement: 1 stored, 2 queued again, 3 stale, 4 vanished
--
-- Repeated: ``last`` is the move that ended the newest attempt; the same move by the same attempt and owner gets the
-- same answer and changes nothing.  Every other settlement that does not match attempt and owner is stale.
local queue, leases, counters = KEYS[1], KEYS[2], KEYS[3]
local dispatcher, retention, most_lost = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()
local answer, ended, requeued, over, counts, noted = {}, {}, {}, {}, {}, {}

local function count(name)
  counts[name] = (counts[name] or 0) + 1
end

-- A task whose slot or worker died may run again, or it has come to its limit: move and kind.
local function judge(key, task, move, kind)
  local limit = tonumber(task.limit)
  if move == "crash" then
    local deaths = redis.call("HINCRBY", key, "deaths", 1)
    if limit == 1 then return "give_up", kind end
    if deaths >= limit then return "give_up", "quarantined" end
  elseif move == "lose_worker" then
    local lost = 0
    if task.inherited ~= "1" then lost = redis.call("HINCRBY", key, "lost", 1) end
    if limit == 1 or lost >= most_lost then return "give_up", kind end
  end
  return move, kind
end

local function history_with(task, kind)
  local history = task.history and cmsgpack.unpack(task.history) or {}
  history[#history + 1] = {tonumber(task.attempt), task.worker, tonumber(task.started), now, kind}
  return cmsgpack.pack(history)
end

local function apply(id, key, task, asked, kind, blob)
  local move, final_kind = judge(key, task, asked, kind)
  local to = MOVES.RUNNING[move]
  noted[#noted + 1] = {id, move, tonumber(task.attempt), task.worker, final_kind}
  if to == "QUEUED" then
    redis.call("HSET", key, "status", to, "last", asked)
    if asked ~= "give_back" then redis.call("HSET", key, "history", history_with(task, kind)) end
    requeued[#requeued + 1] = id
    count("requeued:" .. asked)
    return 2
  end
  redis.call("HDEL", key, "params")
  redis.call("HSET", key, "status", to, "last", asked, "kind", final_kind, "finished", now,
    "history", history_with(task, kind), to == "COMPLETED" and "value" or "failure", blob)
  redis.call("PEXPIRE", key, retention)
  ended[#ended + 1] = id
  count(to == "COMPLETED" and "completed" or "failed:" .. final_kind)
  return 1
end

local function settle(id, attempt, move, kind, blob)
  local key = TASK .. id
  local found = redis.call("HMGET", key, "status", "attempt", "owner", "last", "worker", "started", "limit",
    "inherited", "history")
  local task = {status = found[1], attempt = found[2], worker = found[5], started = found[6], limit = found[7],
    inherited = found[8], history = found[9]}
  if not task.status then
    over[#over + 1] = id
    count("vanished")
    return 4
  end
  local is_ours = task.attempt == attempt and found[3] == dispatcher
  if is_ours and task.status == "RUNNING" and MOVES.RUNNING[move] then
    over[#over + 1] = id
    if #over == 1 then redis.call("HDEL", leases, id) end -- a first write that frees: the rest passes at the memory limit too
    return apply(id, key, task, move, kind, blob)
  end
  if is_ours and task.status ~= "RUNNING" and found[4] == move then
    return task.status == "QUEUED" and 2 or 1
  end
  if kind ~= "" and move ~= "lose_worker" then count("stale_results_total") end
  return 3
end

for at = 4, #ARGV, 5 do
  answer[#answer + 1] = settle(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end

if #over > 0 then redis.call("HDEL", leases, unpack(over)) end
for name, n in pairs(counts) do redis.call("HINCRBY", counters, name, n) end
if #requeued > 0 then
  for at = #requeued, 1, -1 do redis.call("LPUSH", queue, requeued[at]) end
  redis.call("PUBLISH", "{regrow}:wake", #requeued)
end
if #ended > 0 then redis.call("PUBLISH", "{regrow}:done", table.concat(ended, " ")) end
note(noted)
return answer
