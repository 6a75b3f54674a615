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
