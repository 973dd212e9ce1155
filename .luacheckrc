-- What Redis gives a script and Lua 5.1 and 5.4 both have, down to the fields of libraries: no os, io, require, print,
-- nothing that only one version knows. table.unpack and unpack are there for the one expression that asks for both.
local function library(names)
  local fields = {}
  for name in names:gmatch('%S+') do fields[name] = {} end
  return { fields = fields }
end

stds.redis = {
  read_globals = {
    KEYS = { other_fields = true },
    ARGV = { other_fields = true },
    redis = library 'acl_check_cmd call error_reply pcall sha1hex status_reply',
    string = library 'byte char find format gmatch gsub len lower match rep reverse sub upper',
    table = library 'concat insert remove sort unpack',
    math = library 'abs ceil floor fmod huge max min',
    'ipairs', 'pcall', 'tonumber', 'unpack',
  },
}
std = 'redis'
max_line_length = 120
