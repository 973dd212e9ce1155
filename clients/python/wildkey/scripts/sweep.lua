-- PURPOSE   Drop stale index entries: of these suspects, those whose record is gone. Writes no record.
-- KEYS      index, suspect...
-- ARGV      none
-- RETURNS   how many entries were dropped
-- ERRORS    BADARG sweep: ..., before any write; from the server: READONLY, NOPERM, WRONGTYPE; never OOM
-- COST      O(n log N), n the suspects, s those that are stale; calls: n + ceil(s / 1000)
-- COMMANDS  EXISTS ZREM

local index = KEYS[1]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG sweep: ' .. string.format(...)) end

-- Validate.
local tag = string.match(index or '', '^({[^{}]+})/keys$')
if not tag then return refuse('KEYS[1] is not {ns}/keys') end
if #ARGV > 0 then return refuse('there are arguments') end
for i = 2, #KEYS do
  if string.sub(KEYS[i], 1, #tag + 1) ~= tag .. ':' then return refuse('KEYS[%d] is not under %s:', i, tag) end
end

-- Read.
local stale = {}
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then stale[#stale + 1] = string.sub(KEYS[i], #tag + 2) end
end

-- Write.
local dropped = 0
for first = 1, #stale, 1000 do
  dropped = dropped + redis.call('ZREM', index, unpack(stale, first, math.min(first + 999, #stale)))
end
return dropped
