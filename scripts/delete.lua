-- PURPOSE   Delete records and their index entries, all at once.
-- KEYS      order index, expiry index, record...
-- ARGV      reply: count or values
-- RETURNS   count: how many of the records existed; values: each record's last value, false where there was none
-- ERRORS    BADARG delete: ..., before any write; from the server: READONLY, NOPERM, WRONGTYPE; never OOM
-- COST      O(n log N); calls: 2 + 3 * ceil(n / 1000), for values 2 + 4 * ceil(n / 1000)
-- COMMANDS  MGET UNLINK ZCARD ZREM

local order, expiry, reply = KEYS[1], KEYS[2], ARGV[1]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG delete: ' .. string.format(...)) end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' then return refuse('KEYS[1], KEYS[2] are not {ns}/keys, {ns}/expiry') end
if #KEYS < 3 then return refuse('no record given') end
if #ARGV ~= 1 or (reply ~= 'count' and reply ~= 'values') then return refuse('ARGV is not count or values') end
local members = {}
for i = 3, #KEYS do
  local member = string.sub(KEYS[i], #tag + 2)
  if member == '' or KEYS[i] ~= tag .. ':' .. member then return refuse('KEYS[%d] is not %s: and a key', i, tag) end
  members[i - 2] = member
end

-- Half of the permissions would leave half a delete. Redis 6.2 cannot tell beforehand.
local may = redis.acl_check_cmd
if may and not may('ZREM', order, '') then return redis.error_reply('NOPERM delete: the user may not call ZREM') end

-- Read. unpack is good for some 8,000 values; batches of a thousand stay clear of it. A foreign key in the place of
-- an index is found out here, before a record is gone.
redis.call('ZCARD', order)
redis.call('ZCARD', expiry)
local values = {}
for first = 3, reply == 'values' and #KEYS or 0, 1000 do
  for _, value in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))) do
    values[#values + 1] = value
  end
end

-- Write: record first, index last, so that no record is ever unknown to the index.
local existed = 0
for first = 1, #members, 1000 do
  local last = math.min(first + 999, #members)
  existed = existed + redis.call('UNLINK', unpack(KEYS, first + 2, last + 2))
  redis.call('ZREM', order, unpack(members, first, last))
  redis.call('ZREM', expiry, unpack(members, first, last))
end
return reply == 'values' and values or existed
