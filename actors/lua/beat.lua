-- One sign of life of a dispatcher, and a look at the others.
--
-- KEYS  1 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       2 dispatchers    hash: dispatcher -> its record in msgpack
--       3 workers        this dispatcher's worker records, one msgpack list
--       4 queue          list of task ids
--       5 counters       hash
-- ARGV  1 dispatcher   2 its record   3 its workers' records   4 ms after which a dispatcher is silent
--       5 ms after which a silent one without leases is forgotten   6 ms for which a search is this dispatcher's
-- reads   {regrow}:leases:<dispatcher>
-- writes  {regrow}:search   hash: whose a search is, see keys.py
-- answer  tasks queued; 1: a search of the tasks is due, and is this dispatcher's; vanished and missing now (see signs);
--         1: leases were put back among those of this dispatcher; how many it has; then the dispatchers that are silent and still
--         hold leases
--
-- Repeated: only the time moves on; that leases were put back is said once, and reading them after a cut reply tells the same.
local beats, now = KEYS[1], now_ms()
redis.call("ZREM", beats, ARGV[1]) -- a first write that frees: the rest then passes at the memory limit too
redis.call("ZADD", beats, now, ARGV[1])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[2])
redis.call("SET", KEYS[3], ARGV[3], "PX", ARGV[5])

-- A time that is at most ``most`` ms from now; anything later was damaged.
local function soon(text, most)
  local time = number(text or nil) or 0
  return time <= now + most and time or 0
end

-- Is there a task where nobody looks?  There may be, if an id without a record was met, or if the sum is wrong; and a search
-- since then has not found it.  One dispatcher searches at a time, and not without a rest.
local function signs()
  local vanished, lacking = number(redis.call("HGET", KEYS[5], "vanished") or nil) or 0, missing(KEYS[4], KEYS[5], beats)
  local known = redis.call("HMGET", SEARCH, "vanished", "missing", "not_before", "by", "until")
  local given_up = number(known[2] or nil) or 0
  if lacking < given_up then redis.call("HSET", SEARCH, "missing", lacking) end
  local is_new = vanished ~= (number(known[1] or nil) or 0) or lacking > given_up
  local is_free = known[4] == ARGV[1] or soon(known[5], ARGV[6]) <= now
  if not is_new or not is_free or soon(known[3], 3600000) > now then return 0, vanished, lacking end
  redis.call("HSET", SEARCH, "by", ARGV[1], "until", now + ARGV[6])
  return 1, vanished, lacking
end

local answer = {redis.call("LLEN", KEYS[4]) - ghosts_in(KEYS[5]), signs()}
answer[5] = redis.call("HDEL", SEARCH, "leases:" .. ARGV[1])
answer[6] = redis.call("HLEN", "{regrow}:leases:" .. ARGV[1])
for _, other in ipairs(redis.call("ZRANGEBYSCORE", beats, "-inf", "(" .. (now - ARGV[4]))) do
  if redis.call("EXISTS", "{regrow}:leases:" .. other) == 1 then
    answer[#answer + 1] = other
  elseif redis.call("ZSCORE", beats, other) + ARGV[5] < now then
    redis.call("ZREM", beats, other)
    redis.call("HDEL", KEYS[2], other)
  end
end
return answer
