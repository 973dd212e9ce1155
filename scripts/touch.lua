-- PURPOSE   Give live records a new TTL; or, with keep, index them again under the TTL that they have.
-- KEYS      order index, expiry index, record...
-- ARGV      per record: ttl, whole milliseconds, 0: never expires; or keep: when its score in the expiry index says,
--             if that is less than a second before the end of the time that it has left, else at that end
-- RETURNS   how many of the records are live
-- ERRORS    BADARG touch: ..., before any write; from the server: OOM, READONLY, NOPERM, WRONGTYPE
-- COST      O(n log N); calls: 2 + n + k + 3 * M, M the live records, k those of them that keep a TTL
-- COMMANDS  PERSIST PEXPIREAT PTTL TIME ZADD ZCARD ZREM ZSCORE

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
local live, lefts, scores = 0, {}, {}
for i, member in ipairs(members) do
  lefts[i] = redis.call('PTTL', KEYS[i + 2])
  scores[i] = ARGV[i] == 'keep' and lefts[i] >= 0 and redis.call('ZSCORE', expiry, member)
  live = live + (lefts[i] == -2 and 0 or 1)
end
-- Before Redis 7.2 the clock goes on during a script, and may be set ahead: a time left that is added to a TIME from
-- before it was read would expire the record too early, at worst now.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- With keep, as its score says, where that is what the time left can come to. A PEXPIREAT of now would delete a record
-- in its last millisecond, which gets one more. The longest time left is cut to that of a put: a score holds no more.
local function expires_at(ttl, left, score)
  if ttl ~= 'keep' then return now + tonumber(ttl) end
  local latest = now + math.min(left, 999999999999999)
  score = tonumber(string.match(score or '', '^%d+$') or 0)
  if score <= latest and score > latest - 1000 then return math.max(score, now + 1) end
  return math.max(latest, now + 1)
end

-- Write: index first, record last, so that no record is ever unknown to the index.
-- The first write is a ZADD, which a full server refuses; once it has passed, the rest pass.
for i, member in ipairs(members) do
  local key, ttl, left = KEYS[i + 2], ARGV[i], lefts[i]
  if left ~= -2 then
    redis.call('ZADD', order, '0', member)
    if ttl == '0' or ttl == 'keep' and left == -1 then
      redis.call('ZREM', expiry, member)
      redis.call('PERSIST', key)
    else
      local milliseconds = string.format('%.0f', expires_at(ttl, left, scores[i]))
      redis.call('ZADD', expiry, milliseconds, member)
      redis.call('PEXPIREAT', key, milliseconds)
    end
  end
end
return live
