-- The legal moves of a task; every script that moves one starts with this text.  Equal to TRANSITIONS in task.py.
local MOVES = {
  QUEUED = {claim = "RUNNING", cancel = "FAILED", expire = "FAILED"},
  RUNNING = {
    succeed = "COMPLETED", fail = "FAILED", give_up = "FAILED", cancel = "FAILED",
    retry = "QUEUED", crash = "QUEUED", oom = "QUEUED", lose_worker = "QUEUED", give_back = "QUEUED",
  },
}
local TASK = "{regrow}:task:"
local sha1hex = redis.sha1hex

-- Unix milliseconds by the store's own clock, the only one that all dispatchers share.
local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as it is kept in a record; nil where there is none, or it was damaged.
local function number(text)
  local n = text and tonumber(text)
  return n and n >= 0 and n < 1e15 and n % 1 == 0 and n or nil
end

-- Add to a field of a hash of numbers; one that was damaged starts anew.
local function add_to(key, field, n)
  local sum = redis.pcall("HINCRBY", key, field, n)
  if type(sum) == "number" then return sum end
  redis.call("HSET", key, field, n)
  return n
end

-- Entries of the queue whose tasks have ended, or more than that.
local function ghosts_in(counters)
  return number(redis.call("HGET", counters, "ghosts") or nil) or 0
end

-- What no move changes has a seal, so that damage is told from truth.
local function seal_of(digest, size, sum, limit, terms, limits, expires, deadline)
  return sha1hex(digest .. " " .. size .. " " .. sum .. " " .. limit .. " " .. terms .. " " .. limits .. " " .. expires
    .. " " .. deadline)
end

-- One entry into the record of what has happened; the oldest go.
local function append(...)
  redis.call("XADD", "{regrow}:events", "MAXLEN", "~", 10000, "*", ...)
end

-- Moves for the record, NOTE values each: task id, move, attempt, worker, why.
local NOTE, MOST_NOTES = 5, 64 -- so many moves share an entry
local noted, note_count = {}, 0

-- A move that was made, for the record.
local function note(id, move, attempt, worker, why)
  local n = note_count
  noted[n + 1], noted[n + 2], noted[n + 3], noted[n + 4], noted[n + 5] = id, move, tonumber(attempt) or 0, worker or "",
    why or ""
  note_count = n + NOTE
end

-- Put what was noted on record, in the same atomic step as the moves themselves.  Once per script, at its end: by then it
-- has written, so this passes at the memory limit too.  No moves, no entry: what is repeated and moves nothing is not told
-- twice.
local function write_notes()
  for at = 1, note_count, NOTE * MOST_NOTES do
    append("kind", "task", "moves", cmsgpack.pack({unpack(noted, at, math.min(at + NOTE * MOST_NOTES - 1, note_count))}))
  end
end
