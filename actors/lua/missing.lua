-- How many open tasks are in no queue and under no lease.  Changes nothing.
--
-- KEYS  1 queue   2 counters   3 beats
-- answer  so many; and so many of them that the newest search did not find either
return {missing(KEYS[1], KEYS[2], KEYS[3]), number(redis.call("HGET", SEARCH, "missing") or nil) or 0}
