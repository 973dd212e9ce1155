--!df flags=allow-undeclared-keys
-- PURPOSE   Write records, all of them or none; then purge a bounded number of expired index entries.
-- KEYS      order index, expiry index, record... (of one that comes twice, the last counts)
-- ARGV      per record: value, ttl, condition
--             ttl  whole milliseconds, 0: never expires;  condition  * none, - absent, + present, =BYTES this value
-- RETURNS   the number of records written; or -i: the condition of record i failed and nothing was written
-- ERRORS    BADARG put: ..., before any write; from the server: OOM, READONLY, NOPERM, WRONGTYPE
-- COST      O((n + p) log N), p the expired entries found, at most 64 + 2n; c of the n with a condition, t with a ttl;
--             calls: 2 + n + c + ceil(n / 500) + ceil(t / 500) + ceil((n - t) / 1000) + p + 2 * ceil(p / 1000)
-- COMMANDS  EXISTS GET SET TIME ZADD ZRANGEBYSCORE ZREM

local order, expiry, count = KEYS[1], KEYS[2], #KEYS - 2
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG put: ' .. string.format(...)) end

-- One key has one spelling: no empty segment, and %XX for just the bytes that need it.
local escapes = {} -- those known to be right
local function is_encoded_key(member)
  if #member > 4096 or string.find(':' .. member .. ':', '::', 1, true) then return false end
  if string.find(member, '^[a-z0-9:A-Z._~-]+$') then return true end
  if not string.find(member, '^[a-z0-9:A-Z._~%%-]+$') then return false end
  for escape in string.gmatch(member, '%%(.?.?)') do
    if not escapes[escape] then
      if not string.find(escape, '^[0-9A-F][0-9A-F]$') then return false end
      if string.find(string.char(tonumber(escape, 16)), '[A-Za-z0-9._~-]') then return false end
      escapes[escape] = true
    end
  end
  return true
end

-- unpack is good for some 8,000 values; a thousand stays clear of it.
local function thousand(list, first) return unpack(list, first, math.min(first + 999, #list)) end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' then return refuse('KEYS[1], KEYS[2] are not {ns}/keys, {ns}/expiry') end
if count < 1 or #ARGV ~= 3 * count then return refuse('%d arguments for %d records', #ARGV, count) end
local prefix, members = tag .. ':', {}
for i = 1, count do
  local key, ttl, condition = KEYS[i + 2], ARGV[3 * i - 1], ARGV[3 * i]
  local member = string.sub(key, #prefix + 1)
  if string.sub(key, 1, #prefix) ~= prefix or not is_encoded_key(member) then
    return refuse('KEYS[%d] is not %s: and an encoded key', i + 2, tag)
  end
  if ttl ~= '0' and (#ttl > 15 or not string.find(ttl, '^[1-9]%d*$')) then
    return refuse('ARGV[%d], a ttl, is not whole milliseconds of at most 15 digits', 3 * i - 1)
  end
  if condition ~= '*' and not string.find(condition, '^[+-]$') and string.sub(condition, 1, 1) ~= '=' then
    return refuse('ARGV[%d], a condition, is none of * - + =BYTES', 3 * i)
  end
  members[i] = member
end

-- Half of the permissions would leave half a write. Redis 6.2 cannot tell beforehand.
local may = redis.acl_check_cmd
if may and not (may('SET', KEYS[3], '') and may('EXISTS', KEYS[3]) and may('ZREM', order, '')) then
  return redis.error_reply('NOPERM put: the user may not call all of EXISTS, SET and ZREM')
end

-- Read.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local moments, expires_at = {}, {}
for i, member in ipairs(members) do
  local key, ttl, condition = KEYS[i + 2], ARGV[3 * i - 1], ARGV[3 * i]
  local fails = condition == '-' and redis.call('EXISTS', key) == 1
    or condition == '+' and redis.call('EXISTS', key) == 0
    or string.sub(condition, 1, 1) == '=' and redis.call('GET', key) ~= string.sub(condition, 2)
  if fails then return -i end
  moments[ttl] = moments[ttl] or string.format('%.0f', now + tonumber(ttl))
  expires_at[member] = ttl ~= '0' and moments[ttl]
end
-- What to purge: more than is written, so that garbage shrinks; and no more, so that no call pays for a whole night.
-- A foreign key in the place of the expiry index is found out here, before anything is written.
local found = redis.call('ZRANGEBYSCORE', expiry, '-inf', string.format('(%.0f', now), 'LIMIT', 0, 64 + 2 * count)
-- EXISTS has Redis delete what has expired, or a clock set back would revive a record that the index has forgotten.
-- While the slot moves a record may be on another node: two keys, of which one is missing, are then an error.
local expired = {}
for _, member in ipairs(found) do
  if expires_at[member] == nil and redis.pcall('EXISTS', prefix .. member, expiry) == 1 then
    expired[#expired + 1] = member
  end
end

-- Write: index first, record last, so that no record is ever unknown to the index.
-- The first write is a ZADD, which a full server refuses; once it has passed, the rest pass.
local entries, scores, timeless = {}, {}, {}
for i, member in ipairs(members) do
  entries[2 * i - 1], entries[2 * i] = '0', member
  if expires_at[member] then
    scores[#scores + 1], scores[#scores + 2] = expires_at[member], member
  else
    timeless[#timeless + 1] = member
  end
end
for first = 1, #entries, 1000 do redis.call('ZADD', order, thousand(entries, first)) end
for first = 1, #scores, 1000 do redis.call('ZADD', expiry, thousand(scores, first)) end
for first = 1, #timeless, 1000 do redis.call('ZREM', expiry, thousand(timeless, first)) end
for i, member in ipairs(members) do
  if expires_at[member] then
    redis.call('SET', KEYS[i + 2], ARGV[3 * i - 2], 'PXAT', expires_at[member])
  else
    redis.call('SET', KEYS[i + 2], ARGV[3 * i - 2])
  end
end
for first = 1, #expired, 1000 do redis.call('ZREM', order, thousand(expired, first)) end
for first = 1, #expired, 1000 do redis.call('ZREM', expiry, thousand(expired, first)) end
return count
