-- PURPOSE   Delete records and their index entries, all at once.
-- KEYS      index, record...; a ! before the key names its lease, see AUDIT.md
-- ARGV      reply: count or values
-- RETURNS   count: how many of the records, leases left out, existed; values: the last value of each, false where
--             there was none
-- ERRORS    BADARG delete: ..., before any write; from the server: READONLY, NOPERM, WRONGTYPE; never OOM
-- COST      O(n log N); calls: 1 + 2 * ceil(n / 1000) for count, 1 + 3 * ceil(n / 1000) for values; at most one more
--             where leases are among the n
-- COMMANDS  MGET UNLINK ZCARD ZREM

local index, reply = KEYS[1], ARGV[1]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG delete: ' .. string.format(...)) end

-- Validate.
local tag = string.match(index or '', '^({[^{}]+})/keys$')
if not tag then return refuse('KEYS[1] is not {ns}/keys') end
if #KEYS < 2 then return refuse('no record given') end
if #ARGV ~= 1 or (reply ~= 'count' and reply ~= 'values') then return refuse('ARGV is not count or values') end
local members, records, leases = {}, {}, {}
for i = 2, #KEYS do
  local member = string.sub(KEYS[i], #tag + 2)
  if member == '' or KEYS[i] ~= tag .. ':' .. member then return refuse('KEYS[%d] is not %s: and a key', i, tag) end
  members[i - 1] = member
  if string.sub(member, 1, 1) == '!' then leases[#leases + 1] = KEYS[i] else records[#records + 1] = KEYS[i] end
end

-- Half of the permissions would leave half a delete. Redis 6.2 cannot tell beforehand. One UNLINK takes all or nothing,
-- but there are several of many records, and one for leases: each is asked about as it is called.
local may = redis.acl_check_cmd
local several = #KEYS > 1001 or leases[1] and records[1]
for _, names in ipairs({ records, leases }) do
  for first = 1, may and several and #names or 0, 1000 do
    if not may('UNLINK', unpack(names, first, math.min(first + 999, #names))) then
      return redis.error_reply('NOPERM delete: the user may not call UNLINK')
    end
  end
end
if may and not may('ZREM', index, '') then return redis.error_reply('NOPERM delete: the user may not call ZREM') end

-- Read. unpack is good for some 8,000 values; batches of a thousand stay clear of it. A foreign key in the place of
-- the index is found out here, before a record is gone.
redis.call('ZCARD', index)
local values = {}
for first = 2, reply == 'values' and #KEYS or 0, 1000 do
  for _, value in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + 999, #KEYS)))) do
    values[#values + 1] = value
  end
end

-- Write: record before index, so that no live record is ever unknown to the index.
local existed = 0
for first = 1, #records, 1000 do
  existed = existed + redis.call('UNLINK', unpack(records, first, math.min(first + 999, #records)))
end
for first = 1, #leases, 1000 do redis.call('UNLINK', unpack(leases, first, math.min(first + 999, #leases))) end
for first = 1, #members, 1000 do
  redis.call('ZREM', index, unpack(members, first, math.min(first + 999, #members)))
end
return reply == 'values' and values or existed
