-- Hand queued tasks to the workers of one dispatcher.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 leases         hash of this dispatcher: task id -> attempt
--       3 claim          hash of this dispatcher: id and task ids of its newest claim
--       4 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       5 counters       hash
-- ARGV  1 dispatcher   2 claim id   3 most tasks   4 most parameter bytes (one task is always allowed)
--       5 number of shares, then per share: worker, free places, time ahead in µs
--       ... then per known function: digest, expected µs of one run
--       last: retention of ended tasks in ms
-- moves   {regrow}:task:<id>   QUEUED -> RUNNING, attempt + 1, owner and worker set
--                              QUEUED -> FAILED where its time is over, or its record is damaged
-- notes   claim, and ends
-- answer  tasks still queued, or minus one minus these where the claim is of another series than the dispatcher has begun; a list of sorts; then per task: id, attempt, number of its sort, parameters, CRC-32 of these
--         sort: worker, digest, max_attempts, the function's terms and the task's limits in msgpack, ms until the deadline
--         ("" for what a task does not have)
--
-- Free places go first, in turn over the shares; then time ahead, in turn, as long as the task at the front is of a
-- function whose time is known and fits.  The order of the queue is never changed: where its front fits nowhere, the claim ends.
-- An id whose task is not QUEUED any more (it was cancelled, say) is a ghost, and passed over.
--
-- Repeated with the same claim id: the same tasks, those of them that are still under this claim.  A claim id ends in "-NUMBER":
-- one that arrives after a later one of the same series was given up by its sender, and takes nothing; nor does one of another
-- series than the dispatcher has begun (fence.lua): one who lives begins its own again then, since it is a dead one's that came late.
local queue, leases, memo, beats, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dispatcher, claim_id = ARGV[1], ARGV[2]
local most_tasks, most_bytes, share_count = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local sorts, newest_sort = {}, {}
local answer, answered = {0, sorts}, 2

local retention = tonumber(ARGV[#ARGV])
local now = now_ms()
local now_text = string.format("%.0f", now) -- numbers are turned into text anew by each command
local FACTS = {"owner", "worker", "params", unpack(SEALED)}

-- What a task has in common with others of the claim is answered once: the number of its sort.
local function sort_of(worker, digest, limit, terms, limits, deadline)
  local left = deadline and math.max(0, (number(deadline) or 0) - now) or ""
  local at = newest_sort[worker]
  local last = at and sorts[at]
  if last and last[2] == digest and last[3] == limit and last[4] == terms and last[5] == limits and last[6] == left then return at end
  at = #sorts + 1
  sorts[at], newest_sort[worker] = {worker, digest, limit, terms, limits, left}, at
  return at
end

local function add(id, attempt, sort, params, sum)
  local n = answered
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], answer[n + 5] = id, attempt, sort, params, sum
  answered = n + 5
end

local function waiting()
  return redis.call("LLEN", queue) - ghosts_in(counters)
end

-- Series and number of a claim id.
local function parts(id)
  local series, place = string.match(id or "", "^(.*)%-(%d+)$")
  return series, tonumber(place)
end

local newest = redis.call("HGET", memo, "id")
local newest_series, newest_place = parts(newest)
local series, place_in_series = parts(claim_id)
local begun = redis.call("GET", "{regrow}:series:" .. dispatcher)
local is_late = newest_series and newest_series == series and place_in_series < newest_place
if begun and begun ~= series then
  answer[1] = -1 - waiting()
  return answer
elseif is_late then
  answer[1] = waiting()
  return answer
end

if newest == claim_id then
  for id in string.gmatch(redis.call("HGET", memo, "tasks") or "", "%S+") do
    local task = fetch(TASK .. id, FACTS)
    if task.status == "RUNNING" and task.owner == dispatcher and is_whole(task) then
      local sort = sort_of(task.worker or "", task.digest or "", task.limit or "", task.terms or "", task.limits or "", task.deadline)
      add(id, number(task.attempt), sort, task.params or "", task.sum or "")
    end
  end
  answer[1] = waiting()
  return answer
end

local workers, free, ahead, expected, total_free, turn = {}, {}, {}, {}, 0, 0
for share = 1, share_count do
  local at = 3 + 3 * share
  workers[share], free[share], ahead[share] = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  total_free = total_free + free[share]
end
for at = 6 + 3 * share_count, #ARGV - 1, 2 do
  expected[ARGV[at]] = tonumber(ARGV[at + 1])
end

local function next_share(room, cost)
  for _ = 1, share_count do
    turn = turn % share_count + 1
    if room[turn] >= cost then
      room[turn] = room[turn] - cost
      return turn
    end
  end
end

local function place(digest)
  if total_free > 0 then
    total_free = total_free - 1
    return next_share(free, 1)
  end
  local cost = expected[digest]
  return cost and next_share(ahead, cost)
end

local MOST_SEEN = 10000 -- ids looked at in one call
local LIGHT = 65536 -- bytes: where the task before had no more parameters, the next one's are read along with its other fields
local bytes, seen, ghosts, vanished, is_full, read_along, taken, lease_pairs = 0, 0, 0, 0, false, "params", {}, {}

-- Nobody has it, although it is said to run.
local function is_unleased(id, key)
  return redis.call("HEXISTS", "{regrow}:leases:" .. (redis.call("HGET", key, "owner") or ""), id) == 0
end

-- It is not to be run: it has ended, or ends now.
local function pass_over(id, key)
  local task = fetch(key, SEALED)
  if not task.status then
    vanished = vanished + 1
  elseif is_nonsense(task.status) then
    condemn(id, key, task, "status", now, retention)
  elseif task.status == "RUNNING" and is_unleased(id, key) then
    condemn(id, key, task, "status or owner", now, retention, "fail")
  elseif task.status ~= "QUEUED" then
    ghosts = ghosts + 1
  elseif not is_whole(task) then
    condemn(id, key, task, "its seal is broken", now, retention)
  else
    expire(id, key, task, now, retention)
  end
end

local function take(id, key, attempt, worker)
  redis.call("HSET", key, "status", MOVES.QUEUED.claim, "attempt", attempt, "owner", dispatcher, "worker", worker,
    "started", now_text)
  if attempt > 1 then redis.call("HSET", key, "inherited", "0") end
  local n = #taken
  taken[n + 1] = id
  lease_pairs[2 * n + 1], lease_pairs[2 * n + 2] = id, attempt
  note(id, "claim", attempt, worker, "")
end

-- True: go on with the next one.  The fields that it goes by are those of SEALED, in locals: there are many tasks.
local function consider(id)
  local key = TASK .. id
  local status, attempt, digest, size, sum, limit, seal, terms, limits, expires, deadline, params = unpack(redis.pcall("HMGET",
    key, "status", "attempt", "digest", "size", "sum", "limit", "seal", "terms", "limits", "expires", "deadline", read_along), 1, 12)
  digest, sum, limit, terms, limits = digest or "", sum or "", limit or "", terms or "", limits or ""
  attempt = number(attempt) or MOST_ATTEMPTS
  local is_good = status == "QUEUED" and attempt < MOST_ATTEMPTS
    and seal == seal_of(digest, size or "", sum, limit, terms, limits, expires or "", deadline or "")
  if not is_good or (deadline or expires) and is_overdue({attempt = attempt, deadline = deadline, expires = expires}, now) then
    pass_over(id, key)
    return true
  end
  if #taken > 0 and bytes + size > most_bytes then return false end
  local share = place(digest)
  if not share then return false end
  params = params or redis.call("HGET", key, "params")
  if not params or #params ~= size + 0 then
    condemn(id, key, fetch(key, SEALED), "params", now, retention)
    return true
  end
  local worker = workers[share]
  take(id, key, attempt + 1, worker)
  add(id, attempt + 1, sort_of(worker, digest, limit, terms, limits, deadline), params, sum)
  bytes, read_along = bytes + size, #params <= LIGHT and "params" or "none"
  return true
end

redis.call("DEL", memo) -- a first write that frees: the rest then passes at the memory limit too
while not is_full and #taken < most_tasks and seen < MOST_SEEN do
  local front = redis.call("LRANGE", queue, seen, seen + most_tasks - #taken - 1)
  if #front == 0 then break end
  for _, id in ipairs(front) do
    is_full = not consider(id)
    if is_full then break end
    seen = seen + 1
  end
end

if seen > 0 then redis.call("LTRIM", queue, seen, -1) end
if vanished > 0 then counts.vanished = vanished end
if ghosts + vanished > 0 then -- what has vanished had ended, and was a ghost until its record expired
  local known = ghosts_in(counters)
  if known > 0 then counts.ghosts = -math.min(known, ghosts + vanished) end
end
redis.call("HSET", memo, "id", claim_id, "tasks", table.concat(taken, " "))
redis.call("PEXPIRE", memo, 600000)
if #taken > 0 then
  redis.call("HSET", leases, unpack(lease_pairs))
  redis.call("ZADD", beats, now, dispatcher)
end
close(counters)
if seen > 0 and redis.call("EXISTS", queue) == 0 then redis.call("HDEL", counters, "ghosts") end -- whatever was counted wrongly
write_notes()
answer[1] = waiting()
return answer
