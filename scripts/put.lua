-- PURPOSE   Write records, all of them or none; then purge a bounded number of expired index entries.
-- KEYS      order index, expiry index, record... (of one that comes twice, the last counts)
-- ARGV      per record: value, ttl, condition
--             ttl  whole milliseconds, 0: never expires;  condition  * none, - absent, + present, =BYTES this value
-- RETURNS   the number of records written; or -i: the condition of record i failed and nothing was written
-- ERRORS    BADARG put: ..., before any write; from the server: OOM, READONLY, NOPERM, WRONGTYPE
-- COST      O(n log N), and O(log N) for each of at most 64 + 2n purged entries
-- COMMANDS  EXISTS GET SET TIME ZADD ZRANGEBYSCORE ZREM

local order, expiry, count = KEYS[1], KEYS[2], #KEYS - 2
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG put: ' .. string.format(...)) end

-- One key has one spelling: no empty segment, and %XX for just the bytes that need it.
local function is_encoded_key(member)
  if #member > 4096 or string.find(':' .. member .. ':', '::', 1, true) then return false end
  if string.find(member, '[^A-Za-z0-9._~%%:-]') then return false end
  for escape in string.gmatch(member, '%%(.?.?)') do
    if not string.find(escape, '^[0-9A-F][0-9A-F]$') then return false end
    if string.find(string.char(tonumber(escape, 16)), '[A-Za-z0-9._~-]') then return false end
  end
  return true
end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' then return refuse('KEYS[1], KEYS[2] are not {ns}/keys, {ns}/expiry') end
if count < 1 or #ARGV ~= 3 * count then return refuse('%d arguments for %d records', #ARGV, count) end
local members = {}
for i = 1, count do
  local key, ttl, condition = KEYS[i + 2], ARGV[3 * i - 1], ARGV[3 * i]
  local member = string.sub(key, #tag + 2)
  if key ~= tag .. ':' .. member or not is_encoded_key(member) then
    return refuse('KEYS[%d] is not %s: and an encoded key', i + 2, tag)
  end
  if ttl ~= '0' and (#ttl > 15 or not string.find(ttl, '^[1-9]%d*$')) then
    return refuse('ARGV[%d], a ttl, is not whole milliseconds of at most 15 digits', 3 * i - 1)
  end
  if not string.find(condition, '^[*+-]$') and string.sub(condition, 1, 1) ~= '=' then
    return refuse('ARGV[%d], a condition, is none of * - + =BYTES', 3 * i)
  end
  members[i] = member
end

-- Read.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
for i = 1, count do
  local key, condition = KEYS[i + 2], ARGV[3 * i]
  local fails = condition == '-' and redis.call('EXISTS', key) == 1
    or condition == '+' and redis.call('EXISTS', key) == 0
    or string.sub(condition, 1, 1) == '=' and redis.call('GET', key) ~= string.sub(condition, 2)
  if fails then return -i end
end

-- Write: index first, record last, so that no record is ever unknown to the index.
-- The first write is a ZADD, which a full server refuses; once it has passed, the rest pass.
for i, member in ipairs(members) do
  local key, value, ttl = KEYS[i + 2], ARGV[3 * i - 2], ARGV[3 * i - 1]
  redis.call('ZADD', order, '0', member)
  if ttl == '0' then
    redis.call('ZREM', expiry, member)
    redis.call('SET', key, value)
  else
    local expires_at = string.format('%.0f', now + tonumber(ttl))
    redis.call('ZADD', expiry, expires_at, member)
    redis.call('SET', key, value, 'PXAT', expires_at)
  end
end

-- Purge more than was written, so that garbage shrinks; and no more, so that no call pays for a whole night.
local expired_before, allowance = string.format('(%.0f', now), 64 + 2 * count
while allowance > 0 do
  local expired = redis.call('ZRANGEBYSCORE', expiry, '-inf', expired_before, 'LIMIT', 0, math.min(allowance, 1000))
  if #expired == 0 then break end
  redis.call('ZREM', order, unpack(expired))
  redis.call('ZREM', expiry, unpack(expired))
  allowance = allowance - #expired
end
return count
