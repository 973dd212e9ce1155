-- What Redis gives a script, and nothing else: no os, io, require, print.
std = {
  read_globals = {
    "KEYS", "ARGV", "redis", "ipairs", "tonumber", "unpack",
    "string", "table", "math",
  },
}
max_line_length = 120
