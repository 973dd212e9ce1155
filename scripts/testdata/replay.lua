-- Replays recorded runs of one script, on any version of Lua: the redis.call here expects the calls of the recording
-- and answers as it did, and the reply must be the one recorded. The test that runs this puts before it
--   local source, runs = "...", {
--     { case = "...", KEYS = {...}, ARGV = {...}, reply = "in RESP2",
--       calls = { { args = {...}, reply = ... }, ... }, sha1 = { [TEXT IN A REPLY] = DIGEST, ... } },
--     ... }

local function describe(args)
  local words = {}
  for i, arg in ipairs(args) do words[i] = string.format('%q', arg) end
  return table.concat(words, ' ')
end

-- What redis.call does with its arguments: numbers have 17 digits, as Redis gives them.
local function words_of(...)
  local args = { ... }
  for i = 1, select('#', ...) do
    if type(args[i]) == 'number' then
      args[i] = string.format('%.17g', args[i])
    elseif type(args[i]) ~= 'string' then
      error('argument ' .. i .. ' of redis.call is a ' .. type(args[i]))
    end
  end
  return args
end

local function encode(reply)
  local kind = type(reply)
  if kind == 'string' then return '$' .. #reply .. '\r\n' .. reply .. '\r\n' end
  if kind == 'boolean' or kind == 'nil' then return reply and ':1\r\n' or '$-1\r\n' end
  if kind == 'number' then return string.format(':%.0f\r\n', reply) end
  if reply.err then return '-' .. reply.err .. '\r\n' end
  if reply.ok then return '+' .. reply.ok .. '\r\n' end
  local items = {}
  for i, item in ipairs(reply) do items[i] = encode(item) end
  -- ipairs ends at nil, as Redis does; false is an item.
  return '*' .. #items .. '\r\n' .. table.concat(items)
end

local function environment(run)
  local position = 0
  local globals = { KEYS = run.KEYS, ARGV = run.ARGV }
  for _, name in ipairs({ 'assert', 'error', 'ipairs', 'math', 'next', 'pairs', 'pcall', 'select', 'string', 'table',
    'tonumber', 'tostring', 'type', 'unpack' }) do
    globals[name] = _G[name]
  end
  local function answer(...)
    position = position + 1
    local got, want = describe(words_of(...)), run.calls[position]
    if not want then error('calls ' .. got .. ', after the last call recorded') end
    if got ~= describe(want.args) then error('calls ' .. got .. ', recorded is ' .. describe(want.args)) end
    return want.reply
  end
  globals.redis = {
    error_reply = function(text) return { err = text } end,
    acl_check_cmd = function() return true end,
    sha1hex = function(text) return run.sha1[text] or error('asks for the digest of what it was not given') end,
    pcall = answer,
    call = function(...)
      local reply = answer(...)
      if type(reply) == 'table' and reply.err then error(reply) end
      return reply
    end,
  }
  local env = setmetatable(globals, {
    __index = function(_, name) error('reads the global ' .. tostring(name)) end,
    __newindex = function(_, name) error('writes the global ' .. tostring(name)) end,
  })
  return env, function() return position end
end

for _, run in ipairs(runs) do
  local env, calls = environment(run)
  local chunk, problem
  if setfenv then
    chunk, problem = loadstring(source, '@user_script')
    if chunk then setfenv(chunk, env) end
  else
    chunk, problem = load(source, '@user_script', 't', env)
  end
  if not chunk then error(problem) end
  local ok, reply = pcall(chunk)
  if not ok and type(reply) ~= 'table' then
    print(run.case .. ': ' .. tostring(reply))
  else
    local got = encode(reply)
    if not ok then run.reply = string.gsub(run.reply, ' script: .*', '\r\n') end
    if got ~= run.reply then print(string.format('%s: returns %q, recorded is %q', run.case, got, run.reply)) end
    if calls() ~= #run.calls then print(string.format('%s: makes %d calls of %d', run.case, calls(), #run.calls)) end
  end
end
print('replayed ' .. #runs)
