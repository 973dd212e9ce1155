--!df flags=allow-undeclared-keys
-- PURPOSE   Find the records that match a pattern, a bounded page a call, in byte order of their keys. Never writes.
-- KEYS      order index, expiry index
-- ARGV      want, cursor, limit, reads, bytes, term...
--             want    values: {key, value, ...} of live records; keys: {key, ...}, count: how many entries not expired
--             cursor  empty to start; then the cursor of the page before
--             limit   the most matches of a page, reads: the most index entries read for it, one more being counted for
--                     each 256 bytes of an entry; each 1 to 99999
--             bytes   the most bytes of keys and values in it, 1 to 999999999; one larger record passes alone
--             term    =LITERAL this segment; ^PREFIX one that starts so; * any one; ** zero or more, last only; and
--                     all of them such that a key of 4096 bytes can match
-- RETURNS   {cursor, entries read, {stale member...}, results}; cursor: empty at the end; stale: expired or no record
-- ERRORS    BADARG match: ...; TRYAGAIN match: ..., while the slot moves; from the server: NOPERM, WRONGTYPE
-- COST      O(reads + L log N), L the leaps, at most one an entry read; a look-up for each of M matches, for keys and
--             count only while entries have expired; one more for S stale ones; calls: at most 3 + reads + M + S
-- COMMANDS  MGET TIME ZCOUNT ZRANGEBYLEX ZSCORE

local order, expiry, want, cursor = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local function refuse(...) return redis.error_reply('BADARG match: ' .. string.format(...)) end
local try_again = redis.error_reply('TRYAGAIN match: the slot moves, and a record is on another node')

-- Byte order, as sorted sets have it: Lua's own < on strings follows the server's locale.
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local byte_a, byte_b = string.byte(a, i), string.byte(b, i)
    if byte_a ~= byte_b then return byte_a < byte_b end
  end
  return #a < #b
end

-- Validate.
local tag = string.match(order or '', '^({[^{}]+})/keys$')
if not tag or expiry ~= tag .. '/expiry' or #KEYS > 2 then return refuse('KEYS are not {ns}/keys, {ns}/expiry') end
if #ARGV < 6 then return refuse('%d arguments; want, cursor, limit, reads, bytes and a term are needed', #ARGV) end
if want ~= 'values' and want ~= 'keys' and want ~= 'count' then return refuse('ARGV[1], want, is unknown') end
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

-- Read. Matches are looked up one by one: at most one value beyond the bytes. Chunks of the index double until a leap.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- Where nothing in the index has expired, no entry needs its score.
local expired = want ~= 'values' and redis.call('ZCOUNT', expiry, '-inf', string.format('(%.0f', now)) or 0
-- All work on an entry is in proportion to its length: of long ones fewer are read.
local read, work, matches, used, stale, results, chunk, more = 0, 0, 0, 0, {}, {}, 4, true
while more and work < reads and matches < limit do
  local asked = math.min(chunk, reads - work, limit - matches)
  local entries = redis.call('ZRANGEBYLEX', order, position, highest, 'LIMIT', 0, asked)
  read, work, more, chunk = read + #entries, work + #entries, #entries == asked, math.min(2 * chunk, 1000)
  for _, entry in ipairs(entries) do
    local leap = not (whole and string.find(entry, whole)) and leap_from(entry)
    position, work = '(' .. entry, work + math.floor(#entry / 256)
    if leap and leap ~= '' then
      position, more, chunk = leap, true, 4
      break
    elseif not leap then
      local live, value, size
      if want == 'values' then
        local record = tag .. ':' .. entry
        local found = redis.pcall('MGET', record)
        value = found[1]
        if not value then
          -- A node to which the slot moves has nil for a record yet to come; two keys it refuses for want of one.
          if value == false then found = redis.pcall('MGET', record, order) end
          local failure = found['err']
          if failure and string.find(failure, 'non local key', 1, true) then return try_again end
          if failure then return found end
        end
        live, size = value, #entry + (value and #value or 0)
      else
        local expires_at = expired > 0 and redis.call('ZSCORE', expiry, entry)
        live = not expires_at or tonumber(expires_at) >= now
        size = (want == 'keys' or not live) and #entry or 0
      end
      if used > 0 and used + size > bytes then
        return { '[' .. entry, read, stale, want == 'count' and matches or results }
      end
      used = used + size
      if not live then
        stale[#stale + 1] = entry
      else
        matches = matches + 1
        if want ~= 'count' then results[#results + 1] = entry end
        if want == 'values' then results[#results + 1] = value end
      end
    end
    if work > reads then more = true break end
  end
end
return { more and position or '', read, stale, want == 'count' and matches or results }
