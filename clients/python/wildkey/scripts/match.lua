--!df flags=allow-undeclared-keys
-- PURPOSE   Find the records that match a pattern, a bounded page a call, in byte order of their keys. Never writes.
-- KEYS      index
-- ARGV      want, cursor, limit, reads, bytes, term...
--             want    values: {key, value, ...} of live records; records: {key, value, milliseconds left or -1, ...};
--                     keys: {key, ...}; count: how many; list: {key, ...} of those at the depth of the terms, and
--                     {key:, ...} of what has others beneath it; index: {key, ...} of entries as they are, stale or not
--             cursor  empty to start, or >KEY to start after a key; then the cursor of the page before
--             limit   the most matches of a page, reads: the most index entries read for it, one more being counted for
--                     each 256 bytes of an entry, and for each 16 terms with ^ or [; each 1 to 99999
--             bytes   the most bytes of keys and values in it, 1 to 999999999; one larger record passes alone
--             term    =LITERAL this segment; ^PREFIX*SUFFIX one that starts and ends so; [FROM<TO one at or after FROM
--                     and before TO, in byte order; either of the two may be empty; * any one; ** zero or more, last
--                     only, and not of list; and all of them such that a key of 4096 bytes can match. With a ! before
--                     LITERAL, PREFIX or FROM, the first term is of leases: see AUDIT.md
-- RETURNS   {cursor, entries read, {stale member...}, results}; cursor: empty at the end; stale: it has no live record
-- ERRORS    BADARG match: ...; TRYAGAIN match: ..., while the slot moves; from the server: NOPERM, WRONGTYPE
-- COST      O(reads + L log N), L the leaps, at most one an entry read; calls: at most 2 + reads for index,
--             2 + reads + M + 2 * S for values, 2 + reads + 2 * M + 2 * S for records, 2 + 2 * reads + M + S for keys
--             and count and list; M matches, S stale entries
-- COMMANDS  EXISTS MGET PTTL ZRANGEBYLEX

local index, want, cursor = KEYS[1], ARGV[1], ARGV[2]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG match: ' .. string.format(...)) end

-- How many bytes two texts have in common at their head; and byte order, as sorted sets have it: Lua's own < on strings
-- follows the server's locale.
local function common(a, b)
  local n = 0
  while n < #a and string.sub(a, n + 1, n + 64) == string.sub(b, n + 1, n + 64) do n = n + 64 end
  while n < #a and n < #b and string.byte(a, n + 1) == string.byte(b, n + 1) do n = n + 1 end
  return math.min(n, #a)
end
local function before(a, b)
  local n = common(a, b)
  return n < #b and (n == #a or string.byte(a, n + 1) < string.byte(b, n + 1))
end

-- Validate.
local tag = string.match(index or '', '^({[^{}]+})/keys$')
if not tag or #KEYS > 1 then return refuse('KEYS are not {ns}/keys') end
if #ARGV < 6 then return refuse('%d arguments; want, cursor, limit, reads, bytes and a term are needed', #ARGV) end
local wants = { values = true, records = true, keys = true, count = true, list = true, index = true }
if not wants[want] then return refuse('ARGV[1], want, is unknown') end
for i, digits in ipairs({ 5, 5, 9 }) do
  local bound = ARGV[i + 2]
  if #bound > digits or not string.find(bound, '^[1-9]%d*$') then return refuse('ARGV[%d] is out of range', i + 2) end
end
local limit, reads, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
-- Of each term its mark, and the texts before and behind the * or <. As one Lua pattern they know a match at once, but
-- for ** where that stands for no segment. No range can be in it, no suffix, and not too many terms for all Luas.
local marks, lows, highs, patterns, literals, shortest, weight = {}, {}, {}, {}, 0, -1, 0
local wildcards, whole = { ['='] = '', ['^*'] = '[^:]*', ['*'] = '[^:]+', ['**'] = '' }, want ~= 'list' and #ARGV < 105
for i = 1, #ARGV - 5 do
  local kind, low, stop, high = string.match(ARGV[i + 5], '^([=^[]?)(!?[A-Za-z0-9._~%%-]*)([*<]*)([A-Za-z0-9._~%%-]*)$')
  local mark, text, is_last = (kind or '') .. (stop or ''), (low or '') .. (high or ''), i == #ARGV - 5
  local known = mark == '*' or mark == '**' and is_last and want ~= 'list'
  if mark == '[<' and high ~= '' then high = string.match(low, '^!?') .. high end
  if text ~= '' then known = mark == '=' or mark == '^*' or mark == '[<' and (high == '' or before(low, high)) end
  local lease = string.find(low or '', '^!') and 1 or 0
  if not known or lease == 1 and i > 1 then
    return refuse('ARGV[%d] is none of =LITERAL, ^PREFIX*SUFFIX, [FROM<TO, *, and ** at the end', i + 5)
  end
  shortest = shortest + (mark == '**' and 0 or mark == '[<' and 2 or math.max(#text - lease, 1) + 1)
  local longest = math.max(shortest, #low - lease, #high - lease)
  if longest > 4096 then return refuse('ARGV[%d] asks for keys above 4096 bytes', i + 5) end
  if mark == '=' and literals == i - 1 then literals = i end
  if mark == '^*' or mark == '[<' then weight = weight + 16 end
  marks[i], lows[i], highs[i] = mark, low, high
  whole = whole and wildcards[mark] and high == ''
  patterns[i] = string.gsub(low, '%W', '%%%0') .. (wildcards[mark] or '')
end
whole = whole and '^' .. table.concat(patterns, ':') .. (marks[#marks] == '**' and '' or '$')
if want == 'list' then marks[#marks + 1] = '**' end
-- All that matches lies from lowest to highest: it begins with base, or for ** is the leading literals themselves.
local head, next_mark = table.concat(lows, ':', 1, literals), marks[literals + 1]
local base = head .. (literals > 0 and next_mark and ':' or '')
local stem = base .. (lows[literals + 1] or '')
local lowest = next_mark == '**' and head or stem
local lead = base == '' and string.match(stem, '^!?') or ''
local skips_leases = base == '' and lead == ''
local highest = (next_mark == '^*' and stem or base .. lead) .. (next_mark and '\255' or '')
local place, position = string.sub(cursor, 2), cursor
if string.find(cursor, '^>') and not before(place, lowest) then position = '(' .. place
elseif string.find(cursor, '^>') or cursor == '' then position = '[' .. lowest
elseif not string.find(cursor, '^[[(]') or before(place, lowest) or before(highest, place) then
  return refuse('ARGV[2], the cursor, lies outside the range of the pattern')
end

local function fits(i, segment)
  local mark, low, high = marks[i], lows[i], highs[i]
  if segment == '' then return false end -- no key has an empty one
  if mark == '=' then return segment == low end
  if mark == '[<' then return not before(segment, low) and (high == '' or before(segment, high)) end
  local between = string.sub(segment, #low + 1, #segment - #high)
  return low .. between .. high == segment and not string.find(between, '%%.?$') -- no %2A, a star, ends in A
end

local fitting = {} -- of each term the segment that fitted last
-- What an entry that matches is in the results: itself, or in a list the key, with a colon, that it is beneath. If it
-- does not match: nil, and where the walk goes on, as a bound of ZRANGEBYLEX, or nil again for the next entry.
local function look_at(entry)
  if string.sub(entry, 1, #base) ~= base then
    if entry == head then return entry end
    return nil, '[' .. base
  end
  local start = #base + 1
  for i = literals + 1, #marks do
    local mark, low, high = marks[i], lows[i], highs[i]
    if mark == '**' then return want == 'list' and start <= #entry and string.sub(entry, 1, start - 1) or entry end
    if start > #entry then return nil end -- too short; what is beneath it may come at once
    local stop = string.find(entry, ':', start, true) or #entry + 1
    local segment = mark ~= '*' and string.sub(entry, start, stop - 1)
    if segment and segment ~= fitting[i] and not fits(i, segment) then
      local above = string.sub(entry, 1, start - 1)
      if before(string.sub(entry, start), low) then return nil, '[' .. above .. low end
      local passed = mark == '=' or mark == '^*' and string.sub(segment, 1, #low) ~= low
        or mark == '[<' and high ~= '' and not before(segment, high)
      -- A later segment may fit: past what lies beneath this one, as ; follows :.
      if not passed then return nil, stop <= #entry and '[' .. above .. segment .. ';' or nil end
      -- None of the later ones fits. But a shorter one, that this one begins with, may fit, and what is beneath it may
      -- be ahead: as 4-:x lies between 4 and 4:x.
      local length = mark == '=' and #low or math.min(common(segment, high), #high - 1, #segment - 1)
      while mark ~= '=' and length > 0 and string.byte(segment, length + 1) > 57 do length = length - 1 end
      local shorter = string.sub(segment, 1, length)
      if marks[i + 1] and fits(i, shorter) and string.byte(segment .. ':', length + 1) < 58 then
        return nil, '[' .. above .. shorter .. ':'
      end
      return nil, '[' .. (#above > #base and string.sub(above, 1, -2) .. ';' or base .. '\255')
    end
    start, fitting[i] = stop + 1, segment
  end
  if start > #entry then return entry end
  return nil, '[' .. string.sub(entry, 1, start - 2) .. ';' -- too deep: past all beneath what the terms cover
end

-- Keeps the error of a look-up. While the slot moves, a record that was not declared may be on another node. No code of
-- an error tells, but words do: the first in all versions, the others in Redis from 7.4 and Valkey from 8 on.
local failure
local function checked(reply)
  local text = not tonumber(reply) and reply['err']
  if not text then return reply end
  local moves = string.find(text, 'non local key', 1, true) or string.find(text, 'of the slot', 1, true)
  failure = moves and redis.error_reply('TRYAGAIN match: the slot moves, and a record is on another node') or reply
  return {}
end

-- Read. Chunks of the index double until a leap, and groups of values while the largest yet would fit so often into
-- the page. All work on an entry is in proportion to its length: of long ones fewer are read.
local prefix, with_values, near = tag .. ':', want == 'values' or want == 'records', want == 'list' and 1 or 4
local read, work, matches, used, stale, results, filled, more = 0, 0, 0, 0, {}, {}, 0, true
local chunk, group, largest, names = near, 0, 1, { index }
local function page(next_cursor) return { next_cursor, read, stale, want == 'count' and matches or results } end
while more and work < reads and matches < limit do
  local asked = math.min(chunk, reads - work, limit - matches)
  local entries = redis.call('ZRANGEBYLEX', index, position, '[' .. highest, 'LIMIT', 0, asked)
  read, work, more, chunk = read + #entries, work + #entries, #entries == asked, math.min(2 * chunk, 999)
  local n, count, leap = 0, #entries, nil
  position = '(' .. (entries[count] or '')
  -- Behind literals, ** matches all that begins with them.
  local all_match = next_mark == '**' and want ~= 'list' and string.sub(entries[1] or '', 1, #base) == base
  for i = 1, count do
    local entry = entries[i]
    local item = (all_match or whole and string.find(entry, whole)) and entry
    if skips_leases and string.byte(entry) == 33 then item, leap = nil, '["' -- they begin with !, and " follows
    elseif not item then item, leap = look_at(entry) end
    if item then n, entries[n + 1], names[n + 2] = n + 1, item, prefix .. entry end
    if #entry + weight > 255 then work = work + math.floor((#entry + weight) / 256) end
    if leap or work > reads then
      position, more, chunk = leap or '(' .. entry, true, near
      break
    end
  end
  -- A look-up names the index too: while the slot moves here, one key yet to come is absent, but two are refused.
  local all_live, look = want == 'index', n > 0 and want ~= 'index' and not with_values
  if look then all_live = checked(redis.pcall('EXISTS', unpack(names, 1, n + 1))) == n + 1 end
  if all_live and want == 'count' then matches, n = matches + n, 0 end
  local values, fetched, last = {}, 0, 0
  for i = 1, n do
    if with_values and i > last then
      group = math.max(1, math.min(2 * group, 16, math.floor((bytes - used) / largest)))
      fetched, last = last, math.min(n, last + group)
      values = checked(redis.pcall('MGET', unpack(names, i + 1, last + 1)))
    end
    local name, entry, value = names[i + 1], entries[i], values[i - fetched]
    local live = value or all_live
    if not live then
      live = checked(redis.pcall('EXISTS', name, index)) == 2 and not with_values
      if failure then return failure end
      if not live then entry = string.sub(name, #prefix + 1) end
    end
    local size = (live and want == 'count' and 0 or #entry) + (value and #value or 0)
    if used > 0 and used + size > bytes then return page('[' .. string.sub(name, #prefix + 1)) end
    used = used + size
    if size > largest then largest = size end
    if not live then stale[#stale + 1] = entry else
      matches = matches + 1
      if want ~= 'count' then filled, results[filled + 1] = filled + 1, entry end
      if value then filled, results[filled + 1] = filled + 1, value end
      if want == 'records' then filled, results[filled + 1] = filled + 1, redis.call('PTTL', name) end
    end
    if live and want == 'list' and string.sub(entry, -1) == ':' then
      position, more, chunk = '[' .. string.sub(entry, 1, -2) .. ';', true, near
      break -- it is listed, and so is all beneath it
    end
  end
end
-- From the last item of a list of literals a leap leads to the end of the range or beyond it.
return page(more and before(string.sub(position, 2), highest) and position or '')
