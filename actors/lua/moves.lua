-- The legal moves of a task; every script that moves one starts with this text.  Equal to TRANSITIONS in task.py.
local MOVES = {
  QUEUED = {claim = "RUNNING", cancel = "FAILED", expire = "FAILED"},
  RUNNING = {
    succeed = "COMPLETED", fail = "FAILED", give_up = "FAILED", cancel = "FAILED",
    retry = "QUEUED", crash = "QUEUED", oom = "QUEUED", lose_worker = "QUEUED", give_back = "QUEUED",
  },
}
local TASK = "{regrow}:task:"

-- Unix milliseconds by the store's own clock, the only one that all dispatchers share.
local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Put moves on record, each {task id, move, attempt, worker, why}, in the same atomic step as the moves themselves.
-- Once per script, at its end: by then it has written, so this passes at the memory limit too.  No moves, no entry: what
-- is repeated and moves nothing is not told twice.
local function note(moves)
  for at = 1, #moves, 64 do
    local some = {unpack(moves, at, math.min(at + 63, #moves))}
    redis.call("XADD", "{regrow}:events", "MAXLEN", "~", 10000, "*", "kind", "task", "moves", cmsgpack.pack(some))
  end
end
