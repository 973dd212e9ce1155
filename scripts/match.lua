--!df flags=allow-undeclared-keys
-- PURPOSE   Find the records that match a pattern, a bounded page a call, in byte order of their keys. Never writes.
-- KEYS      index
-- ARGV      want, cursor, limit, reads, bytes, term...
--             want    values: {key, value, ...} of live records; records: {key, value, milliseconds left or -1, ...};
--                     keys: {key, ...}; count: how many; index: {key, ...} of index entries as they are, stale or not
--             cursor  empty to start; then the cursor of the page before
--             limit   the most matches of a page, reads: the most index entries read for it, one more being counted for
--                     each 256 bytes of an entry; each 1 to 99999
--             bytes   the most bytes of keys and values in it, 1 to 999999999; one larger record passes alone
--             term    =LITERAL this segment; ^PREFIX one that starts so; * any one; ** zero or more, last only; and
--                     all of them such that a key of 4096 bytes can match
-- RETURNS   {cursor, entries read, {stale member...}, results}; cursor: empty at the end; stale: it has no live record
-- ERRORS    BADARG match: ...; TRYAGAIN match: ..., while the slot moves; from the server: NOPERM, WRONGTYPE
-- COST      O(reads + L log N), L the leaps, at most one an entry read; calls: at most 2 + reads for index,
--             2 + reads + M + 2 * S for values, 2 + reads + 2 * M + 2 * S for records, 2 + 2 * reads + M + S for keys
--             and count; M matches, S stale entries
-- COMMANDS  EXISTS MGET PTTL ZRANGEBYLEX

local index, want, cursor = KEYS[1], ARGV[1], ARGV[2]
local unpack = table.unpack or unpack
local function refuse(...) return redis.error_reply('BADARG match: ' .. string.format(...)) end

-- Byte order, as sorted sets have it: Lua's own < on strings follows the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local byte_a, byte_b = string.byte(a, i), string.byte(b, i)
    if byte_a ~= byte_b then return byte_a < byte_b end
  end
  return #a < #b
end

-- Validate.
local tag = string.match(index or '', '^({[^{}]+})/keys$')
if not tag or #KEYS > 1 then return refuse('KEYS are not {ns}/keys') end
if #ARGV < 6 then return refuse('%d arguments; want, cursor, limit, reads, bytes and a term are needed', #ARGV) end
local wants = { values = true, records = true, keys = true, count = true, index = true }
if not wants[want] then return refuse('ARGV[1], want, is unknown') end
for i, digits in ipairs({ 5, 5, 9 }) do
  local bound = ARGV[i + 2]
  if #bound > digits or not string.find(bound, '^[1-9]%d*$') then return refuse('ARGV[%d] is out of range', i + 2) end
end
local limit, reads, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local kinds, texts, patterns, literals, shortest = {}, {}, {}, 0, -1
local wildcards = { ['='] = '', ['^'] = '[^:]*', ['*'] = '[^:]+', ['**'] = '' }
for i = 1, #ARGV - 5 do
  local term = ARGV[i + 5]
  local kind, text = string.match(term, '^([=^])([A-Za-z0-9._~%%-]+)$')
  if term == '*' or (term == '**' and i == #ARGV - 5) then kind, text = term, '' end
  if not kind then return refuse('ARGV[%d] is none of =LITERAL, ^PREFIX, *, and ** at the end', i + 5) end
  shortest = shortest + (kind == '**' and 0 or math.max(#text, 1) + 1)
  if shortest > 4096 then return refuse('ARGV[%d] asks for keys of more than 4096 bytes', i + 5) end
  if kind == '=' and literals == i - 1 then literals = i end
  kinds[i], texts[i], patterns[i] = kind, text, string.gsub(text, '%W', '%%%0') .. wildcards[kind]
end
-- The terms as one Lua pattern: it knows a match at once, but for ** where that stands for no segment. Of very many
-- terms, some versions of Lua call it too complex.
local whole = #kinds < 100 and '^' .. table.concat(patterns, ':') .. (kinds[#kinds] == '**' and '' or '$')
-- All that matches lies from lowest to highest: it begins with stem, or for ** is the leading literals themselves.
local head = table.concat(texts, ':', 1, literals)
local stem = head .. (literals > 0 and kinds[literals + 1] and ':' or '') .. (texts[literals + 1] or '')
local lowest = kinds[literals + 1] == '**' and head or stem
local highest = kinds[literals + 1] and '(' .. stem .. '\255' or '[' .. stem
local position = cursor == '' and '[' .. lowest or cursor
local place = string.sub(position, 2)
if not string.find(position, '^[[(]') or before(place, lowest) or before(string.sub(highest, 2), place) then
  return refuse('ARGV[2], the cursor, lies outside the range of the pattern')
end

-- Where the walk goes on from an entry, as a bound of ZRANGEBYLEX; empty: at the next entry; nil: this one matches.
local function leap_from(entry)
  local start = 1
  for i, kind in ipairs(kinds) do
    if kind == '**' then return nil end
    if start > #entry then
      -- Too short. Below a literal the children (4:x) come next; below a wildcard, siblings (4-:x) may come before.
      return kinds[i - 1] == '=' and '[' .. entry .. ':' .. texts[i] or ''
    end
    local text, stop = texts[i], (string.find(entry, ':', start, true) or #entry + 1) - 1
    local last = kind == '^' and math.min(stop, start + #text - 1) or stop
    if kind ~= '*' and string.sub(entry, start, last) ~= text then
      local above, rest = string.sub(entry, 1, start - 1), string.sub(entry, start)
      -- Ahead, under the same segments above: the text; or, as 4-:x lies between 4 and 4:x, what is beneath it.
      if before(rest, text) then return '[' .. above .. text end
      if kind == '=' and kinds[i + 1] and before(rest, text .. ':') then return '[' .. above .. text .. ':' end
      -- Behind: past the subtree of the segments above, as ; follows :.
      return '[' .. string.sub(above, 1, -2) .. ';'
    end
    start = stop + 2
  end
  if start > #entry then return nil end
  -- Too deep: past the subtree of what the terms cover.
  return '[' .. string.sub(entry, 1, start - 2) .. ';'
end

-- Where literals alone come before a last ** or *, nearly all of the range matches, and a plain test tells.
local plain = literals == #kinds - 1 and kinds[#kinds]
local function matches_plainly(entry)
  if plain == '**' then return string.sub(entry, 1, #stem) == stem end
  if plain == '*' then return not string.find(entry, ':', #stem + 1, true) end
  return whole and string.find(entry, whole)
end

-- A look-up has failed. While the slot moves, a record that was not declared may be on another node. No code of an
-- error tells, but words do: the first in all versions, the others in Redis from 7.4 and Valkey from 8 on.
local function failed(reply)
  local text = reply['err']
  local moves = string.find(text, 'non local key', 1, true) or string.find(text, 'of the slot', 1, true)
  return moves and redis.error_reply('TRYAGAIN match: the slot moves, and a record is on another node') or reply
end

-- Read. Values are looked up one by one: at most one beyond the bytes. Chunks of the index double until a leap.
-- All work on an entry is in proportion to its length: of long ones fewer are read.
local prefix, with_values = tag .. ':', want == 'values' or want == 'records'
local read, work, matches, used, stale, results, chunk, more = 0, 0, 0, 0, {}, {}, 4, true
while more and work < reads and matches < limit do
  local asked = math.min(chunk, reads - work, limit - matches)
  local entries, found, names = redis.call('ZRANGEBYLEX', index, position, highest, 'LIMIT', 0, asked), {}, { index }
  read, work, more, chunk = read + #entries, work + #entries, #entries == asked, math.min(2 * chunk, 999)
  for _, entry in ipairs(entries) do
    local leap = not matches_plainly(entry) and leap_from(entry)
    position, work = '(' .. entry, work + math.floor(#entry / 256)
    if not leap then
      found[#found + 1] = entry
      names[#names + 1] = prefix .. entry
    elseif leap ~= '' then
      position, more, chunk = leap, true, 4
      break
    end
    if work > reads then more = true break end
  end
  -- A look-up names the index too: while the slot moves here, one key yet to come is absent, but two are refused.
  local all_live = want == 'index'
  if #found > 0 and not all_live and not with_values then
    local existing = redis.pcall('EXISTS', unpack(names))
    if not tonumber(existing) then return failed(existing) end
    all_live = existing == #names
  end
  local listed = found
  if all_live and want == 'count' then
    matches, listed = matches + #found, {}
  end
  for i, entry in ipairs(listed) do
    local record, value, live = names[i + 1], false, all_live
    if with_values then
      local values = redis.pcall('MGET', record)
      if values['err'] then return failed(values) end
      value, live = values[1], values[1]
    end
    if not live then
      local existing = redis.pcall('EXISTS', record, index)
      if not tonumber(existing) then return failed(existing) end
      live = existing == 2 and not with_values
    end
    local size = (live and want == 'count' and 0 or #entry) + (value and #value or 0)
    if used > 0 and used + size > bytes then
      return { '[' .. entry, read, stale, want == 'count' and matches or results }
    end
    used, matches = used + size, matches + (live and 1 or 0)
    if not live then stale[#stale + 1] = entry end
    if live and want ~= 'count' then results[#results + 1] = entry end
    if value then results[#results + 1] = value end
    if value and want == 'records' then results[#results + 1] = redis.call('PTTL', record) end
  end
end
return { more and position or '', read, stale, want == 'count' and matches or results }
