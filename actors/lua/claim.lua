-- Hand queued tasks to the workers of one dispatcher.
--
-- KEYS  1 queue          list of task ids, front = left
--       2 leases         hash of this dispatcher: task id -> attempt
--       3 claim          hash of this dispatcher: id and task ids of its last claim that took anything
--       4 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       5 counters       hash
-- ARGV  1 dispatcher   2 claim id   3 most tasks   4 most parameter bytes (one task is always allowed)
--       5 number of shares, then per share: worker, free places, time ahead in µs
--       ... then per known function: digest, expected µs of one run
-- moves   {regrow}:task:<id>   QUEUED -> RUNNING, attempt + 1, owner and worker set
-- notes   claim
-- answer  tasks still queued, then per task: id, attempt, worker, digest, parameters
--
-- Free places go first, in turn over the shares; then time ahead, in turn, as long as the task at the front is of a
-- function whose time is known and fits.  The order of the queue is never changed: where its front fits nowhere, the claim ends.
--
-- Repeated with the same claim id: the same tasks, those of them that are still under this claim.
local queue, leases, memo, beats, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dispatcher, claim_id = ARGV[1], ARGV[2]
local most_tasks, most_bytes, share_count = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answer = {0}

local function add(id, attempt, worker, digest, params)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4], answer[n + 5] = id, attempt, worker, digest, params
end

if redis.call("HGET", memo, "id") == claim_id then
  for id in string.gmatch(redis.call("HGET", memo, "tasks"), "%S+") do
    local task = redis.call("HMGET", TASK .. id, "status", "owner", "attempt", "worker", "digest", "params")
    if task[1] == "RUNNING" and task[2] == dispatcher then
      add(id, tonumber(task[3]), task[4], task[5], task[6])
    end
  end
  answer[1] = redis.call("LLEN", queue)
  return answer
end

local workers, free, ahead, expected, total_free, turn = {}, {}, {}, {}, 0, 0
for share = 1, share_count do
  local at = 3 + 3 * share
  workers[share], free[share], ahead[share] = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  total_free = total_free + free[share]
end
for at = 6 + 3 * share_count, #ARGV, 2 do
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

local now, bytes, seen, vanished, taken, lease_pairs, noted = now_ms(), 0, 0, 0, {}, {}, {}
local front = most_tasks > 0 and redis.call("LRANGE", queue, 0, most_tasks - 1) or {}
for _, id in ipairs(front) do
  local key = TASK .. id
  local task = redis.call("HMGET", key, "status", "attempt", "digest", "size")
  local to = MOVES[task[1]] and MOVES[task[1]].claim
  if not to then
    vanished = vanished + 1
  else
    if #taken > 0 and bytes + task[4] > most_bytes then break end
    local share = place(task[3])
    if not share then break end
    local attempt = task[2] + 1
    if #taken == 0 then redis.call("DEL", memo) end -- a first write that frees: the rest then passes at the memory limit too
    redis.call("HSET", key, "status", to, "attempt", attempt, "owner", dispatcher, "worker", workers[share],
      "started", now, "inherited", 0)
    add(id, attempt, workers[share], task[3], redis.call("HGET", key, "params"))
    bytes = bytes + task[4]
    taken[#taken + 1] = id
    noted[#noted + 1] = {id, "claim", attempt, workers[share], ""}
    lease_pairs[#lease_pairs + 1] = id
    lease_pairs[#lease_pairs + 1] = attempt
  end
  seen = seen + 1
end

if seen > 0 then redis.call("LTRIM", queue, seen, -1) end
if vanished > 0 then redis.call("HINCRBY", counters, "vanished", vanished) end
if #taken > 0 then
  redis.call("HSET", leases, unpack(lease_pairs))
  redis.call("HSET", memo, "id", claim_id, "tasks", table.concat(taken, " "))
  redis.call("PEXPIRE", memo, 600000)
  redis.call("ZADD", beats, now, dispatcher)
end
note(noted)
answer[1] = redis.call("LLEN", queue)
return answer
