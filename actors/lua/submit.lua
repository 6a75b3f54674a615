-- Write new tasks and queue them, each wholly or not at all.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 counters       hash
-- ARGV  1 most tasks that may be queued
--       2... per task: id, function id, parameters, max_attempts ("" = the function's),
--            body: a digest of all but the function where the id is made from an idempotency key, else ""; it is kept
--            with half of the function's digest behind it: one field of more than 64 bytes makes the record twice as large
--            CRC-32 of the parameters ("" = none)
--            times in msgpack, "" = none: delay, expires and deadline in ms from now
--            limits in msgpack, "" = none
-- reads   {regrow}:function:<function id>   hash: digest, max_attempts, terms, ttl, seal
-- writes  {regrow}:task:<id>                hash, status QUEUED
--         {regrow}:scheduled                sorted set: task id -> when it is to be queued, Unix ms
--         {regrow}:deadlines                sorted set: task id -> when its time is over, Unix ms
--         {regrow}:function_timers          sorted set: function id -> when it expires, unless it is used again
--         {regrow}:open                     hash: digest -> tasks of that function that have not ended
-- notes   submit
-- sends   {regrow}:wake                     once, if anything was queued; not only when the queue was empty before:
--                                           the one who found it not empty may have had no free slot, another may.
--                                           "due" if anything waits for its time
-- answer  per task: 1 accepted, 2 unknown function, 3 queue full, 4 accepted before, 5 accepted before with another body,
--                   6 the function's facts are damaged
--
-- Repeated: a task that exists is left as it is, whatever has become of it; its body stays in its record to the last.
local queue, counters = KEYS[1], KEYS[2]
local scheduled, deadlines = "{regrow}:scheduled", "{regrow}:deadlines"
local room = tonumber(ARGV[1]) - redis.call("LLEN", queue) + ghosts_in(counters) - redis.call("ZCARD", scheduled)
local now = now_ms()
local now_text = string.format("%.0f", now) -- numbers are turned into text anew by each command
local functions, new, opened, accepted, is_timed, answer = {}, {}, {}, 0, false, {}

local function body_with(body, digest)
  return body ~= "" and body .. digest:sub(1, 32) or ""
end

-- A key stands for the function's bytes, not for its id: each program that registers a function gets another id.
local function is_same(key, body, digest)
  local former = redis.pcall("HGET", key, "body") or ""
  if type(former) ~= "string" then return false end -- what is there is no record
  if body == "" or digest then return former == body_with(body, digest) end
  return former:sub(1, #body) == body
end

local function look_up(id)
  if functions[id] == nil then
    local known = redis.call("HMGET", "{regrow}:function:" .. id, "digest", "max_attempts", "terms", "ttl", "seal")
    local facts = {known[1] or "", known[2] or "", known[3] or "", known[4] or ""}
    known.is_damaged = known[5] ~= redis.sha1hex(table.concat(facts, "\n")):sub(1, 8)
    functions[id] = known
  end
  return functions[id]
end

-- What only some tasks have; then their seal, and true if the task is to wait before it is queued.
local function note_options(id, key, terms, blob, limits)
  if terms ~= "" then redis.call("HSET", key, "terms", terms) end
  if limits ~= "" then redis.call("HSET", key, "limits", limits) end
  if blob == "" then return "", "", false end
  local times = cmsgpack.unpack(blob)
  local expires, deadline = times.expires and now + times.expires, times.deadline and now + times.deadline
  if expires then redis.call("HSET", key, "expires", expires) end
  if deadline then redis.call("HSET", key, "deadline", deadline) end
  if expires or deadline then
    redis.call("ZADD", deadlines, math.min(expires or deadline, deadline or expires), id)
    is_timed = true
  end
  local has_to_wait = (times.delay or 0) > 0
  if has_to_wait then
    redis.call("ZADD", scheduled, now + times.delay, id)
    is_timed = true
  end
  return expires or "", deadline or "", has_to_wait
end

for at = 2, #ARGV, 8 do
  local id, callee, params, limit, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local check, times, limits = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7]
  local key = TASK .. id
  local known = look_up(callee)
  if redis.call("EXISTS", key) == 1 then
    answer[#answer + 1] = is_same(key, body, known[1]) and 4 or 5
  elseif not known[1] and not known[5] then
    answer[#answer + 1] = 2
  elseif known.is_damaged then
    answer[#answer + 1] = 6
  elseif accepted >= room then
    answer[#answer + 1] = 3
  else
    if limit == "" then limit = known[2] end
    body = body_with(body, known[1])
    local terms = known[3] or ""
    local expires, deadline, has_to_wait = note_options(id, key, terms, times, limits)
    local seal = seal_of(known[1], #params, check, limit, terms, limits, expires, deadline)
    redis.call("HSET", key, "status", "QUEUED", "attempt", "0", "digest", known[1], "size", #params, "sum", check, "limit", limit,
      "seal", seal, "params", params, "function", callee, "submitted", now_text, "body", body)
    if not has_to_wait then new[#new + 1] = id end
    opened[known[1]] = (opened[known[1]] or 0) + 1
    accepted = accepted + 1
    note(id, "submit", 0, "", "")
    answer[#answer + 1] = 1
  end
end

if accepted > 0 then
  add_to(counters, "submitted", accepted)
  for digest, n in pairs(opened) do add_to("{regrow}:open", digest, n) end
  for id, known in pairs(functions) do
    if known[4] and not known.is_damaged then redis.call("ZADD", "{regrow}:function_timers", now + known[4], id) end
  end
end
if #new > 0 then
  redis.call("RPUSH", queue, unpack(new))
  redis.call("PUBLISH", "{regrow}:wake", #new)
end
if is_timed then redis.call("PUBLISH", "{regrow}:wake", "due") end
write_notes()
return answer
