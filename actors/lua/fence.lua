-- Begin a series of claims: those of another one, which may still be on their way from a former incarnation, take nothing.
--
-- KEYS  1 series         string   the series of claims that this dispatcher makes now
-- ARGV  1 the series     2 ms after which it is forgotten: nothing is on its way for so long
-- answer  nothing
--
-- To be called before the leases are read: what a former incarnation has claimed by then is among them, and it claims nothing more.
-- Repeated: the same.  One of a former incarnation can come late, too: then the claims of the present one are refused, and it begins
-- again; the former one cannot.
redis.call("DEL", KEYS[1]) -- a first write that frees: the rest then passes at the memory limit too
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return {}
