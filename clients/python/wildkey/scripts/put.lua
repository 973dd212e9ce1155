--!df flags=allow-undeclared-keys
-- PURPOSE   Put, touch, delete and check records: all that is asked, or nothing. Then drop some stale index entries.
-- KEYS      index, record... (none twice); a ! before the key names its lease, see AUDIT.md
-- ARGV      per record: action, condition, value
--             action     MILLISECONDS, a time to live: put the value; never: put the value, to stay; keep: put the
--                        value and leave the time that the live record has left; touch MILLISECONDS, touch never:
--                        give the live record this time to live; delete: delete it; check: only test its condition
--             condition  *: none; -: absent; +: present; =BYTES: has this value; #SHA1: has a value of this digest
--             value      empty for touch, delete and check
-- RETURNS   how many records, leases left out, were put, touched or deleted; or -i: nothing was written, because the
--             condition of record i failed, or its action was keep and it was not live
-- ERRORS    BADARG put: ..., before any write; from the server: OOM, READONLY, NOPERM, WRONGTYPE
-- COST      O((n + e) log N); calls: at most 3 + c + ceil(p / 500) + p + 2 * t + d + ceil(d / 1000) + 2 * e;
--             c conditions and keeps, p records put, t touched, d deleted, e index entries looked at for stale ones:
--             none unless the index grows, and at most 1024, an entry counting once more for each 256 bytes
-- COMMANDS  EXISTS GET PERSIST PEXPIRE SET UNLINK ZADD ZCARD ZRANDMEMBER ZRANGEBYLEX ZREM

local index, count = KEYS[1], #KEYS - 1
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG put: ' .. string.format(...)) end

-- One key has one spelling: no empty segment, and %XX for just the bytes that need it.
local escapes = {} -- those known to be right
local function is_encoded_key(member)
  if string.sub(member, 1, 1) == '!' then member = string.sub(member, 2) end
  if #member > 4096 or string.find(member, '::', 1, true) or string.find(member, '^:') then return false end
  if string.find(member, '^[a-z0-9:A-Z._~-]*[a-z0-9A-Z._~-]$') then return true end
  if not string.find(member, '^[a-z0-9:A-Z._~%%-]*[a-z0-9A-Z._~-]$') then return false end
  for escape in string.gmatch(member, '%%(.?.?)') do
    if not escapes[escape] then
      if not string.find(escape, '^[0-9A-F][0-9A-F]$') then return false end
      if string.find(string.char(tonumber(escape, 16)), '[A-Za-z0-9._~-]') then return false end
      escapes[escape] = true
    end
  end
  return true
end

local function parse_action(action)
  if action == 'delete' or action == 'check' then return action end
  local verb, ttl = 'touch', string.match(action, '^touch (.*)$')
  if not ttl then verb, ttl = 'put', action end
  local known = ttl == 'never' or ttl == 'keep' and verb == 'put' or #ttl < 16 and string.find(ttl, '^[1-9]%d*$')
  if known then return verb, ttl end
end

local function is_condition(text)
  if #text == 41 and string.find(text, '^#[0-9a-f]+$') then return true end
  return string.find(text, '^[*+-]$') or string.sub(text, 1, 1) == '='
end

-- Validate.
local tag = string.match(index or '', '^({[^{}]+})/keys$')
if not tag then return refuse('KEYS[1] is not {ns}/keys') end
if count < 1 or #ARGV ~= 3 * count then return refuse('%d arguments for %d records', #ARGV, count) end
local prefix, verbs, ttls, asked, seen, entries, deleted = tag .. ':', {}, {}, {}, {}, {}, {}
for i = 1, count do
  local key, action, condition = KEYS[i + 1], ARGV[3 * i - 2], ARGV[3 * i - 1]
  local member = string.sub(key, #prefix + 1)
  if string.sub(key, 1, #prefix) ~= prefix or not is_encoded_key(member) then
    return refuse('KEYS[%d] is not %s: and an encoded key', i + 1, tag)
  end
  if seen[member] then return refuse('KEYS[%d], %s, comes twice', i + 1, member) end
  seen[member] = true
  local verb = verbs[action]
  if not verb then
    verb, ttls[action] = parse_action(action)
    if not verb then return refuse('ARGV[%d] is no action, such as 60000, never or delete', 3 * i - 2) end
    verbs[action], asked[verb] = verb, true
  end
  if condition ~= '*' and not is_condition(condition) then
    return refuse('ARGV[%d] is no condition: * - + =BYTES #SHA1', 3 * i - 1)
  end
  if verb == 'put' then entries[#entries + 1], entries[#entries + 2] = '0', member
  elseif ARGV[3 * i] ~= '' then return refuse('ARGV[%d], a value, is not empty for %s', 3 * i, verb)
  elseif verb == 'delete' then deleted[#deleted + 1] = member end
end

-- Half of the permissions would leave half a write. Redis 6.2 cannot tell beforehand. A key pattern that matches the
-- prefix alone ends in a star and is good for all records, but for odd ones in AUDIT.md. Else each record is asked for.
local may = redis.acl_check_cmd
local function lacks(verb, command, ...)
  if not may or not asked[verb] or may(command, prefix, ...) then return false end
  for i = 1, count do
    if verbs[ARGV[3 * i - 2]] == verb and not may(command, KEYS[i + 1], ...) then return command end
  end
end
local lacking = lacks('put', 'SET', '') or lacks('touch', 'EXISTS') or lacks('touch', 'PERSIST')
  or lacks('touch', 'PEXPIRE', '1') or lacks('delete', 'UNLINK')
if may and asked.delete and not may('ZREM', index, '') then lacking = 'ZREM' end
if lacking then return redis.error_reply('NOPERM put: the user may not call ' .. lacking) end

-- Read. A foreign key in the place of the index is found out before a record is gone: here, or by the ZADD.
if #entries == 0 then redis.call('ZCARD', index) end
for i = 1, count do
  local key, condition, keeps = KEYS[i + 1], ARGV[3 * i - 1], ttls[ARGV[3 * i - 2]] == 'keep'
  if keeps or condition ~= '*' then
    local kind = string.sub(condition, 1, 1)
    local exists = (keeps or kind == '-' or kind == '+') and redis.call('EXISTS', key)
    local fails = exists == 0 and (keeps or kind == '+') or exists == 1 and kind == '-'
    if not fails and (kind == '=' or kind == '#') then
      local value = redis.call('GET', key)
      fails = (value and kind == '#' and redis.sha1hex(value) or value) ~= string.sub(condition, 2)
    end
    if fails then return -i end
  end
end

-- Write: index before record, but to delete record before index, so that no live record is ever unknown to the index.
-- The ZADD comes first: a full server refuses it, and nothing after it.
local done, added = 0, 0
for first = 1, #entries, 1000 do
  added = added + redis.call('ZADD', index, unpack(entries, first, math.min(first + 999, #entries)))
end
for i = 1, count do
  local key, action, value = KEYS[i + 1], ARGV[3 * i - 2], ARGV[3 * i]
  local verb, ttl, changed = verbs[action], ttls[action], verbs[action] == 'put' and 1 or 0
  if verb == 'put' and ttl == 'never' then redis.call('SET', key, value)
  elseif verb == 'put' and ttl == 'keep' then redis.call('SET', key, value, 'KEEPTTL')
  elseif verb == 'put' then redis.call('SET', key, value, 'PX', ttl)
  elseif verb == 'delete' then changed = redis.call('UNLINK', key)
  elseif ttl == 'never' then changed = math.max(redis.call('PERSIST', key), redis.call('EXISTS', key))
  elseif verb == 'touch' then changed = redis.call('PEXPIRE', key, ttl) end
  if string.byte(key, #prefix + 1) ~= 33 then done = done + changed end -- 33: a !, of a lease
end
for first = 1, #deleted, 1000 do
  redis.call('ZREM', index, unpack(deleted, first, math.min(first + 999, #deleted)))
end

-- Collect: look at entries from a random place, one for each four that the index has grown by; drop the stale ones.
-- Each of these buys a look at six more, as stale ones lie together. It comes to a look by size and by chance: a lock
-- that is taken and released at one size of the index does not pay for one each time.
local function collect()
  local size = redis.call('ZCARD', index)
  local growth = math.floor(size / 8) - math.floor((size - added) / 8)
  if growth == 0 then return end
  local place = redis.call('ZRANDMEMBER', index)
  local chance = tonumber(string.sub(redis.sha1hex(place), 1, 1), 16) % 4
  local from, looks, work = '[' .. place, 8 * math.floor((growth + chance) / 4), 0
  while looks > 0 and work <= 888 do -- 8 entries of 4,096 bytes count 136: 1,024 at most
    local members = redis.call('ZRANGEBYLEX', index, from, '+', 'LIMIT', 0, 8)
    local names, gone = { index }, {}
    for i, member in ipairs(members) do
      names[i + 1], work = prefix .. member, work + 1 + math.floor(#member / 256)
    end
    -- With the index: alone, a key that is yet to come to a node which its slot moves to would pass for gone.
    local live = redis.call('EXISTS', unpack(names)) - 1
    if live < #members then
      for i, member in ipairs(members) do
        if live == 0 or redis.call('EXISTS', names[i + 1], index) == 1 then gone[#gone + 1] = member end
      end
      redis.call('ZREM', index, unpack(gone))
    end
    looks = looks - 8 + 6 * #gone
    from = members[8] and '(' .. members[8] or '-'
  end
end
-- All is written. A user who may not see the records of others, or a slot that moves, fails no put.
if added > 0 then pcall(collect) end
return done
