-- How tasks end.  In front of every script that ends any: claim, settle, cancel, due.
--
-- writes  {regrow}:deadlines        sorted set: task id -> when to look whether its time is over, Unix ms
--         {regrow}:dead             sorted set: task id -> when it ended, of the failed tasks that keep their parameters
--         {regrow}:open             hash: digest -> tasks of that function that have not ended
--         {regrow}:code:<digest>    deleted with its last task, where no function uses it any more
local DEADLINES, DEAD, OPEN, SCHEDULED = "{regrow}:deadlines", "{regrow}:dead", "{regrow}:open", "{regrow}:scheduled"
local MOST_DEAD = 10000
local ENDING = {"status", "attempt", "owner", "worker", "started", "history", "digest", "deadline", "expires", "terms", "limit",
  "inherited"}
local SEALED = {"status", "attempt", "digest", "size", "sum", "limit", "terms", "limits", "expires", "deadline", "seal"}
local MOST_ATTEMPTS = 1e9 -- more than that is damage
local FINAL = {COMPLETED = true, FAILED = true}
local NONSENSE = "?" -- stands for the status of a record that has none

-- Failures that regrow decided on, and not the function: their tasks can be looked at and queued again.
local LETTERS = {quarantined = true, crashed = true, oom = true, worker_lost = true, timed_out = true, limit = true,
  unloadable = true, corrupt_payload = true}

local counts, closed, ended, has_buried = {}, {}, {}, false

local function count(name)
  counts[name] = (counts[name] or 0) + 1
end

-- These fields of a task, by name; no status: there is no such task.  What is not even a hash is deleted.
local function fetch(key, names)
  local found, task = redis.pcall("HMGET", key, unpack(names)), {}
  if found.err then
    redis.call("DEL", key)
    return {status = NONSENSE}
  end
  for at, name in ipairs(names) do
    task[name] = found[at] or nil
  end
  if not task.status and redis.call("EXISTS", key) == 1 then task.status = NONSENSE end
  return task
end

-- The fields of a task that its end depends on, by name.
local function read_task(key)
  return fetch(key, ENDING)
end

-- Of the fields SEALED: they are what was submitted, and there is a sensible attempt.
local function is_whole(task)
  local seal = seal_of(task.digest or "", task.size or "", task.sum or "", task.limit or "", task.terms or "",
    task.limits or "", task.expires or "", task.deadline or "")
  return seal == task.seal and (number(task.attempt) or MOST_ATTEMPTS) < MOST_ATTEMPTS
end

local function is_nonsense(status)
  return not (MOVES[status] or FINAL[status])
end

-- What is packed in msgpack, or nil where it is damaged.
local function unpacked(blob)
  local is_whole, value = pcall(cmsgpack.unpack, blob)
  return is_whole and value or nil
end

local function history_with(task, kind, now)
  local history = task.history and unpacked(task.history)
  if type(history) ~= "table" then history = {} end
  history[#history + 1] = {number(task.attempt) or 0, task.worker or "", number(task.started) or now, now, kind}
  return cmsgpack.pack(history)
end

local function bury(id, key, now, retention)
  redis.call("ZREMRANGEBYSCORE", DEAD, "-inf", now - retention)
  redis.call("ZADD", DEAD, now, id)
  has_buried = true
  if redis.call("ZCARD", DEAD) > MOST_DEAD then
    redis.call("HDEL", TASK .. redis.call("ZPOPMIN", DEAD)[1], "params")
  end
end

-- It has ended, and its record with it.
local function conclude(id, key, digest, retention)
  redis.call("PEXPIRE", key, retention)
  if digest then closed[digest] = (closed[digest] or 0) + 1 end
  ended[#ended + 1] = id
end

-- A task fails.  ending: to, asked, kind, blob; of an attempt that was running also history, and what it printed, if anything;
-- is_tried: a retry policy has had its say.
local function finish(id, key, task, ending, now, retention)
  local is_letter = LETTERS[ending.kind] or ending.is_tried
  redis.call("HSET", key, "status", ending.to, "last", ending.asked, "kind", ending.kind, "finished", now, "failure", ending.blob)
  if not is_letter then redis.call("HSET", key, "params", "") end
  if ending.history then redis.call("HSET", key, "history", ending.history) end
  if ending.printed then redis.call("HSET", key, "printed", ending.printed) end
  if is_letter then bury(id, key, now, retention) end
  conclude(id, key, task.digest, retention)
  count("failed:" .. ending.kind)
end

-- Its time was over before it had been started, or its deadline came while it was queued.
local function expire(id, key, task, now, retention)
  local is_new = (number(task.attempt) or 0) == 0
  local text = is_new and "it was not started in time" or "its deadline came while it waited to be started again"
  local kind = is_new and "expired" or "timed_out"
  local blob = cmsgpack.pack({kind = kind, type = "Expired", message = text, traceback = ""})
  finish(id, key, task, {to = MOVES.QUEUED.expire, asked = "expire", kind = kind, blob = blob}, now, retention)
  note(id, "expire", task.attempt, "", kind)
end

-- Its record is damaged: what it was can no longer be told.  ``move`` is the one that ends it.
local function condemn(id, key, task, field, now, retention, move)
  local text = "the task's record in the store is damaged (" .. field .. "): submit the task again"
  local blob = cmsgpack.pack({kind = "corrupt_payload", type = "DamagedRecord", message = text, traceback = ""})
  finish(id, key, task, {to = "FAILED", asked = "fail", kind = "corrupt_payload", blob = blob}, now, retention)
  count("damaged_records_total")
  note(id, move or "expire", task.attempt, "", "corrupt_payload")
end

-- Is its time over?  A task that was started once may wait on, but not past its deadline.
local function is_overdue(task, now)
  local deadline, expires = number(task.deadline), number(task.expires)
  return (deadline and now >= deadline) or (expires and now >= expires and (number(task.attempt) or 0) == 0)
end

-- Call once at the end: counters, functions that nobody needs any more, and word to those who wait.
local function close(counters)
  for name, n in pairs(counts) do add_to(counters, name, n) end
  for digest, n in pairs(closed) do
    if add_to(OPEN, digest, -n) <= 0 then
      redis.call("HDEL", OPEN, digest)
      if redis.call("EXISTS", "{regrow}:users:" .. digest) == 0 then redis.call("DEL", "{regrow}:code:" .. digest) end
    end
  end
  if #ended > 0 then redis.call("PUBLISH", "{regrow}:done", table.concat(ended, " ")) end
  if redis.call("EXISTS", DEADLINES) == 1 then
    for at = 1, #ended, 1000 do redis.call("ZREM", DEADLINES, unpack(ended, at, math.min(at + 999, #ended))) end
  end
  if has_buried then redis.call("PUBLISH", "{regrow}:wake", "due") end -- when its time is over, it is to leave {regrow}:dead
end

-- A function is not to be called any more: 1, or 0 where there was none.
local function forget_function(id)
  local facts = "{regrow}:function:" .. id
  local digest = redis.call("HGET", facts, "digest")
  redis.call("ZREM", "{regrow}:functions", id)
  if not digest then return 0 end
  redis.call("DEL", facts)
  redis.call("SREM", "{regrow}:users:" .. digest, id)
  local is_needed = redis.call("EXISTS", "{regrow}:users:" .. digest) == 1 or redis.call("HEXISTS", OPEN, digest) == 1
  if not is_needed then redis.call("DEL", "{regrow}:code:" .. digest) end
  return 1
end
