-- PURPOSE   Give live records a new TTL; or, with keep, index them again under the TTL that they have.
-- KEYS      order index, expiry index, record...
-- ARGV      per record: ttl, whole milliseconds, 0: never expires; or keep: the time left, set anew to the millisecond
-- RETURNS   how many of the records are live
-- ERRORS    BADARG touch: ..., before any write; from the server: OOM, READONLY, NOPERM, WRONGTYPE
-- COST      O(n log N); calls: 2 + n + 3 * M, M the live records
-- COMMANDS  PERSIST PEXPIREAT PTTL TIME ZADD ZCARD ZREM

local order, expiry, count = KEYS[1], KEYS[2], #KEYS - 2
local function refuse(...) return redis.error_reply('BADARG touch: ' .. string.format(...)) end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' then return refuse('KEYS[1], KEYS[2] are not {ns}/keys, {ns}/expiry') end
if count < 1 or #ARGV ~= count then return refuse('%d arguments for %d records', #ARGV, count) end
local members = {}
for i = 1, count do
  local key, ttl = KEYS[i + 2], ARGV[i]
  local member = string.sub(key, #tag + 2)
  if member == '' or key ~= tag .. ':' .. member then return refuse('KEYS[%d] is not %s: and a key', i + 2, tag) end
  if ttl ~= '0' and ttl ~= 'keep' and (#ttl > 15 or not string.find(ttl, '^[1-9]%d*$')) then
    return refuse('ARGV[%d], a ttl, is neither keep nor whole milliseconds of at most 15 digits', i)
  end
  members[i] = member
end

-- Half of the permissions would leave half a write. Redis 6.2 cannot tell beforehand.
local may = redis.acl_check_cmd
if may and not (may('PERSIST', KEYS[3]) and may('PEXPIREAT', KEYS[3], '1') and may('ZREM', order, '')) then
  return redis.error_reply('NOPERM touch: the user may not call all of PERSIST, PEXPIREAT and ZREM')
end

-- Read. A foreign key in the place of the expiry index is found out here, before anything is written.
redis.call('ZCARD', expiry)
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local live, ttls = 0, {}
for i = 1, count do
  local left, ttl = redis.call('PTTL', KEYS[i + 2]), ARGV[i]
  if ttl == 'keep' then
    -- In its last millisecond a record has 0 left, and a PEXPIREAT of now would delete it; no score holds 16 digits.
    ttl = left == -1 and '0' or string.format('%.0f', math.min(math.max(left, 1), 999999999999999))
  end
  ttls[i] = left ~= -2 and ttl
  live = live + (ttls[i] and 1 or 0)
end

-- Write: index first, record last, so that no record is ever unknown to the index.
-- The first write is a ZADD, which a full server refuses; once it has passed, the rest pass.
for i, member in ipairs(members) do
  local key, ttl = KEYS[i + 2], ttls[i]
  if ttl == '0' then
    redis.call('ZADD', order, '0', member)
    redis.call('ZREM', expiry, member)
    redis.call('PERSIST', key)
  elseif ttl then
    local expires_at = string.format('%.0f', now + tonumber(ttl))
    redis.call('ZADD', order, '0', member)
    redis.call('ZADD', expiry, expires_at, member)
    redis.call('PEXPIREAT', key, expires_at)
  end
end
return live
