-- Write how attempts ended, each only if it is the current one of the dispatcher that asks.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 leases         hash of this dispatcher: task id -> attempt
--       3 counters       hash
-- ARGV  1 dispatcher   2 retention of ended tasks in ms   3 lost workers after which a task ends   4 a random number, 0 to 1
--       5... per settlement: task id, attempt, move, kind, blob, printed, check, types
--            kind: "completed" or a failure's kind     blob: the value, or the failure in msgpack ("" with give_back)
--            printed: its output     check: CRC-32 of the value ("" for none)
--            types: of what it raised, the names of its class and of the bases of that, a line each
-- moves   {regrow}:task:<id>   RUNNING -> COMPLETED, FAILED, or QUEUED: at the front in the order given, or after a delay
-- notes   the move that was made (what was asked for, or the give_up or retry that it came to), and its kind
-- sends   {regrow}:done        ids that ended, space-separated
--         {regrow}:wake        if anything was queued again; "due" if anything waits for its time
-- answer  per settlement: 1 stored, 2 queued again, 3 stale, 4 vanished
--
-- Repeated: ``last`` is the move that was asked for when the newest attempt failed; the same by the same attempt and owner
-- gets the same answer and changes nothing.  Every other settlement that does not match attempt and owner is stale.
local queue, leases, counters = KEYS[1], KEYS[2], KEYS[3]
local dispatcher, retention, most_lost, noise = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local MOST_OOMS, OOM_DELAY = 3, 1000 -- kills for want of memory before a task ends; ms before the first one runs again
local now = now_ms()
local now_text = string.format("%.0f", now) -- numbers are turned into text anew by each command
local answer, requeued, over, has_delayed = {}, {}, {}, false

local function is_named(types, wanted)
  for name in types:gmatch("[^\n]+") do
    for _, one in ipairs(wanted) do
      if name == one or name:match("[^.]+$") == one then return true end
    end
  end
  return false
end

-- ms to wait before the next try of a task that raised, by its function's retry policy; nil: there is none.
local function retry_delay(key, task, types)
  local terms = unpacked(task.terms)
  local retry = type(terms) == "table" and terms.retry
  if not retry or retry.count == 0 then return nil end
  local is_meant = #retry.retry_on == 0 or is_named(types, retry.retry_on)
  if not is_meant or is_named(types, retry.dont_retry) then return nil end
  local tries = add_to(key, "retried", 1)
  if tries > retry.count then return nil end
  noise = (noise + 0.618) % 1
  local delay = math.min(retry.backoff_s * retry.factor ^ (tries - 1), retry.max_backoff_s)
  return math.floor(1000 * delay * (1 + retry.jitter * (2 * noise - 1)))
end

-- A task whose slot or worker died, or that raised, may run again, or it has come to its limit: move, kind, delay in ms.
local function judge(key, task, move, kind, types)
  local limit = number(task.limit) or 1
  if move == "crash" then
    local deaths = add_to(key, "deaths", 1)
    if limit == 1 then return "give_up", kind end
    if deaths >= limit then return "give_up", "quarantined" end
  elseif move == "oom" then
    local ooms = add_to(key, "ooms", 1)
    if limit == 1 or ooms >= MOST_OOMS then return "give_up", kind end
    return move, kind, OOM_DELAY * 2 ^ (ooms - 1)
  elseif move == "lose_worker" then
    local lost = 0
    if task.inherited ~= "1" and task.inherited ~= "2" then lost = add_to(key, "lost", 1) end
    if limit == 1 or lost >= most_lost then return "give_up", kind end
  elseif move == "fail" and kind == "raised" and task.terms and limit ~= 1 then
    local delay = is_whole(fetch(key, SEALED)) and retry_delay(key, task, types)
    if delay then return "retry", kind, delay end
  end
  return move, kind
end

local function queue_again(id, key, task, asked, kind, move, delay, printed)
  redis.call("HSET", key, "status", MOVES.RUNNING[move], "last", asked)
  if asked ~= "give_back" then redis.call("HSET", key, "history", history_with(task, kind, now)) end
  if printed ~= "" then redis.call("HSET", key, "printed", printed) end
  if delay then
    redis.call("ZADD", SCHEDULED, now + delay, id)
    has_delayed = true
  else
    requeued[#requeued + 1] = id
  end
  count("requeued:" .. move)
  return 2
end

local function apply(id, key, task, asked, kind, blob, printed, types)
  local move, final_kind, delay = judge(key, task, asked, kind, types)
  note(id, move, task.attempt, task.worker, final_kind)
  if MOVES.RUNNING[move] == "QUEUED" then return queue_again(id, key, task, asked, kind, move, delay, printed) end
  local ending = {to = MOVES.RUNNING[move], asked = asked, kind = final_kind, blob = blob,
    history = history_with(task, kind, now), printed = printed ~= "" and printed,
    is_tried = kind == "raised" and redis.call("HEXISTS", key, "retried") == 1}
  finish(id, key, task, ending, now, retention)
  return 1
end

-- That was asked for when the newest attempt ended.
local function last_move(key, task)
  return task.status == "COMPLETED" and "succeed" or redis.call("HGET", key, "last")
end

-- The record does not know of this attempt.  Where the lease does, the record is damaged, or the lease is.
local function disown(id, key, task, attempt)
  local lease = redis.call("HGET", leases, id)
  if not lease or (lease ~= attempt and number(lease)) then return nil end
  over[#over + 1] = id
  if FINAL[task.status] then return nil end
  if #over == 1 then redis.call("HDEL", leases, id) end
  condemn(id, key, task, "status, attempt or owner", now, retention, "fail")
  return 1
end

-- By far the most tasks end like this, so it is short: true, if this one did.
local function succeed(id, key, attempt, value, printed, check)
  local found = redis.pcall("HMGET", key, "status", "attempt", "owner", "worker", "digest")
  if found[1] ~= "RUNNING" or found[2] ~= attempt or found[3] ~= dispatcher then return false end
  over[#over + 1] = id
  if #over == 1 then redis.call("HDEL", leases, id) end -- a first write that frees: the rest passes at the memory limit too
  redis.call("HSET", key, "status", MOVES.RUNNING.succeed, "params", "", "finished", now_text, "value", value, "check", check)
  if printed ~= "" then redis.call("HSET", key, "printed", printed) end
  conclude(id, key, found[5], retention)
  count("completed")
  note(id, "succeed", attempt, found[4] or "", "completed")
  return true
end

local function settle(id, attempt, move, kind, blob, printed, check, types)
  local key = TASK .. id
  if move == "succeed" and succeed(id, key, attempt, blob, printed, check) then return 1 end
  local task = read_task(key)
  if not task.status then
    over[#over + 1] = id
    count("vanished")
    return 4
  end
  local is_ours = task.attempt == attempt and task.owner == dispatcher
  if is_ours and task.status == "RUNNING" and MOVES.RUNNING[move] then
    over[#over + 1] = id
    if #over == 1 then redis.call("HDEL", leases, id) end -- a first write that frees: the rest passes at the memory limit too
    return apply(id, key, task, move, kind, blob, printed, types)
  end
  if is_ours and task.status ~= "RUNNING" and last_move(key, task) == move then
    over[#over + 1] = id -- of a damaged record the lease may be left
    return task.status == "QUEUED" and 2 or 1
  end
  local verdict = disown(id, key, task, attempt)
  if verdict then return verdict end
  if kind ~= "" and move ~= "lose_worker" then count("stale_results_total") end
  return 3
end

for at = 5, #ARGV, 8 do
  answer[#answer + 1] = settle(unpack(ARGV, at, at + 7))
end

if #over > 0 then redis.call("HDEL", leases, unpack(over)) end
close(counters)
if #requeued > 0 then
  for at = #requeued, 1, -1 do redis.call("LPUSH", queue, requeued[at]) end
  redis.call("PUBLISH", "{regrow}:wake", #requeued)
end
if has_delayed then redis.call("PUBLISH", "{regrow}:wake", "due") end
write_notes()
return answer
