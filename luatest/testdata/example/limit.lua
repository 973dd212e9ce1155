-- Lets ARGV[1] calls through in each window of ARGV[2] milliseconds.
-- Returns how many are left, or -1 for a call too many.
local calls = redis.call('INCR', KEYS[1])
if calls == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if calls > tonumber(ARGV[1]) then
  return -1
end
return ARGV[1] - calls
