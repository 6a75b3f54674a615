-- Write new tasks and queue them, each wholly or not at all.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 counters       hash
-- ARGV  1 most tasks that may be queued
--       2... per task: id, function id, parameters, max_attempts ("" = the function's),
--            body: a digest of these three where the id is made from an idempotency key, else ""
-- reads   {regrow}:function:<function id>   hash: digest, max_attempts
-- writes  {regrow}:task:<id>                hash, status QUEUED
-- notes   submit
-- sends   {regrow}:wake                     once, if anything was queued; not only when the queue was empty before:
--                                           the one who found it not empty may have had no free slot, another may
-- answer  per task: 1 accepted, 2 unknown function, 3 queue full, 4 accepted before, 5 accepted before with another body
--
-- Repeated: a task that exists is left as it is, whatever has become of it; its body stays in its record to the last.
local queue, counters = KEYS[1], KEYS[2]
local room = tonumber(ARGV[1]) - redis.call("LLEN", queue)
local now = now_ms()
local functions, new, answer, noted = {}, {}, {}, {}

local function look_up(id)
  if functions[id] == nil then
    functions[id] = redis.call("HMGET", "{regrow}:function:" .. id, "digest", "max_attempts")
  end
  return functions[id]
end

for at = 2, #ARGV, 5 do
  local id, callee, params, limit, body = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local key = TASK .. id
  local known = look_up(callee)
  if redis.call("EXISTS", key) == 1 then
    answer[#answer + 1] = (redis.call("HGET", key, "body") or "") == body and 4 or 5
  elseif not known[1] then
    answer[#answer + 1] = 2
  elseif #new >= room then
    answer[#answer + 1] = 3
  else
    if limit == "" then limit = known[2] end
    redis.call("HSET", key, "status", "QUEUED", "function", callee, "digest", known[1], "params", params,
      "size", #params, "limit", limit, "attempt", 0, "submitted", now, "body", body)
    new[#new + 1] = id
    noted[#noted + 1] = {id, "submit", 0, "", ""}
    answer[#answer + 1] = 1
  end
end

if #new > 0 then
  redis.call("RPUSH", queue, unpack(new))
  redis.call("HINCRBY", counters, "submitted", #new)
  redis.call("PUBLISH", "{regrow}:wake", #new)
end
note(noted)
return answer
