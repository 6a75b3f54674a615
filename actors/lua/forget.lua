-- Delete a function.  Tasks of it that have been accepted still run: its bytes go with the last of them.
--
-- ARGV  1 function id
-- writes  {regrow}:function:<function id>, {regrow}:functions, {regrow}:function_timers, {regrow}:users:<digest>,
--         {regrow}:code:<digest>   deleted, or taken out there
-- answer  one number: 1 deleted, 0 there was none
redis.call("ZREM", "{regrow}:function_timers", ARGV[1])
return {forget_function(ARGV[1])}
