-- One sign of life of a dispatcher, and a look at the others.
--
-- KEYS  1 beats          sorted set: dispatcher -> last sign of life, Unix ms
--       2 dispatchers    hash: dispatcher -> its record in msgpack
--       3 workers        this dispatcher's worker records, one msgpack list
--       4 queue          list of task ids
--       5 counters       hash
-- ARGV  1 dispatcher   2 its record   3 its workers' records   4 ms after which a dispatcher is silent
--       5 ms after which a silent one without leases is forgotten
-- reads   {regrow}:leases:<dispatcher>
-- answer  tasks queued, then the dispatchers that are silent and still hold leases
--
-- Repeated: only the time moves on.
local beats, now = KEYS[1], now_ms()
redis.call("ZREM", beats, ARGV[1]) -- a first write that frees: the rest then passes at the memory limit too
redis.call("ZADD", beats, now, ARGV[1])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[2])
redis.call("SET", KEYS[3], ARGV[3], "PX", ARGV[5])

local answer = {redis.call("LLEN", KEYS[4]) - ghosts_in(KEYS[5])}
for _, other in ipairs(redis.call("ZRANGEBYSCORE", beats, "-inf", "(" .. (now - ARGV[4]))) do
  if redis.call("EXISTS", "{regrow}:leases:" .. other) == 1 then
    answer[#answer + 1] = other
  elseif redis.call("ZSCORE", beats, other) + ARGV[5] < now then
    redis.call("ZREM", beats, other)
    redis.call("HDEL", KEYS[2], other)
  end
end
return answer
