-- Put what happened to a tree's children on record, each once.
--
-- KEYS  1 told           string   number of the last happening of this tree that is on record
-- ARGV  1 number of the first happening that is given   2 ms after which the tree's number is forgotten
--       3... the happenings, as they are kept
-- answer  the number of the last one on record
--
-- Repeated: what is on record already is passed over.
local told, number = KEYS[1], ARGV[1] - 1
local last = tonumber(redis.call("GET", told) or 0)
redis.call("DEL", told) -- a first write that frees: the rest then passes at the memory limit too
for at = 3, #ARGV do
  number = number + 1
  if number > last then
    append("kind", "child", "event", ARGV[at])
    last = number
  end
end
redis.call("SET", told, last, "PX", ARGV[2])
return {last}
