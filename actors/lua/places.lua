-- Whether every task that has not ended is where somebody will look.  In front of beat, mend and missing.
--
-- reads   {regrow}:open, {regrow}:scheduled, {regrow}:leases:<dispatcher> of every dispatcher in beats
local SEARCH = "{regrow}:search"
local MOST_SUMMED = 10000 -- functions with open tasks; of more than that no sum is taken once a second

-- Open tasks, less those that wait or are under lease: 0 where all is well.  Each script keeps the sum, so what is left was
-- taken out of a queue or a lease table from outside, or came with an id that no task has.
local function missing(queue, counters, beats)
  if redis.call("HLEN", "{regrow}:open") > MOST_SUMMED then return 0 end
  local sum = 0
  for _, n in ipairs(redis.call("HVALS", "{regrow}:open")) do sum = sum + (number(n) or 0) end
  if sum == 0 then return 0 end
  sum = sum - redis.call("LLEN", queue) + ghosts_in(counters) - redis.call("ZCARD", "{regrow}:scheduled")
  for _, dispatcher in ipairs(redis.call("ZRANGE", beats, 0, -1)) do
    sum = sum - redis.call("HLEN", "{regrow}:leases:" .. dispatcher)
  end
  return math.max(0, sum)
end
