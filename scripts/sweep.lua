--!df flags=allow-undeclared-keys
-- PURPOSE   Collect stale index entries: the expired, and suspects whose record is gone. Writes no record.
-- KEYS      order index, expiry index, suspect record...
-- ARGV      limit: how many expired entries to purge at the most, 0 to 9999
-- RETURNS   {purged, dropped}: entries that had expired; further entries, of suspects whose record is gone
-- ERRORS    BADARG sweep: ..., before any write; from the server: READONLY, NOPERM, WRONGTYPE; never OOM
-- COST      O((n + limit) log N), n the suspects, p the expired found, d the suspects gone;
--             calls: 2 + n + p + 2 * ceil(p / 1000) + 2 * ceil(d / 1000)
-- COMMANDS  EXISTS TIME ZRANGEBYSCORE ZREM

local order, expiry, limit = KEYS[1], KEYS[2], ARGV[1]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG sweep: ' .. string.format(...)) end

-- unpack is good for some 8,000 values; a thousand stays clear of it.
local function remove(members)
  local removed = 0
  for first = 1, #members, 1000 do
    local last = math.min(first + 999, #members)
    removed = removed + redis.call('ZREM', order, unpack(members, first, last))
    redis.call('ZREM', expiry, unpack(members, first, last))
  end
  return removed
end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' then return refuse('KEYS[1], KEYS[2] are not {ns}/keys, {ns}/expiry') end
if #ARGV ~= 1 or (limit ~= '0' and not string.find(limit, '^[1-9]%d?%d?%d?$')) then
  return refuse('ARGV is not one limit, 0 to 9999')
end
for i = 3, #KEYS do
  if string.sub(KEYS[i], 1, #tag + 1) ~= tag .. ':' then return refuse('KEYS[%d] is not under %s:', i, tag) end
end

-- Read. Redis keeps a record through the millisecond of its expiry: expired is strictly before now.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', now), 'LIMIT', 0, limit)
-- EXISTS has Redis delete what has expired, or a clock set back would revive a record that the index has forgotten.
-- While the slot moves a record may be on another node: two keys, of which one is missing, are then an error.
local expired, gone = {}, {}
for _, member in ipairs(found) do
  if redis.call('EXISTS', tag .. ':' .. member, expiry) == 1 then expired[#expired + 1] = member end
end
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then gone[#gone + 1] = string.sub(KEYS[i], #tag + 2) end
end

-- Write.
local purged = #expired
remove(expired)
local dropped = remove(gone)
return { purged, dropped }
