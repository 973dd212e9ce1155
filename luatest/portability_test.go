package luatest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/puclua"
)

// portabilityCases has, for each rule, a script that breaks it and one that does
// the same, or nearly, in a portable way.
var portabilityCases = []struct{ name, breaks, want, instead string }{
	{"number of 15 digits concatenated", "return 100000000000000 .. ''",
		"100000000000000 as text", "return 99999999999999 .. ''"},
	{"large number in tostring", "return tostring(2 ^ 50)", "1125899906842624 as text", "return tostring(2)"},
	{"large number in string.len", "return string.len(1e14)",
		"100000000000000 as text", "return string.len(1)"},
	{"large number in table.concat", "return table.concat({1e15})",
		"1000000000000000 as text", "return table.concat({1, 'a'})"},
	{"fraction concatenated", "return 'a' .. 0.5",
		"the fraction 0.5 as text", "return 'a' .. string.format('%.1f', 0.5)"},
	{"infinity concatenated", "return math.huge .. ''", "+Inf as text", "return string.format('%d', 1)"},
	{"quotient concatenated", "return 'a' .. 10 / 2",
		"5, a float, as text", "return 'a' .. math.floor(10 / 2)"},
	{"quotient concatenated by way of a variable", "local half = 10 / 2 return half .. ''",
		"5, a float", "local half = 10 / 2 half = math.floor(half) return half .. ''"},
	{"power in tostring", "return tostring(2 ^ 2)", "4, a float", "return tostring(2 * 2)"},
	{"minus zero concatenated", "return -4 * 0 .. ''", "-0 as text", "return string.format('%d', -4 * 0)"},
	{"table in tostring", "return tostring({})", "a table as text", "return tostring(nil)"},
	{"string in addition", "return '10' + 1", `the string "10" as a number`, "return tonumber('10') + 1"},
	{"string negated", "return -KEYS[1]", `the string "1" as a number`, "return -tonumber(KEYS[1])"},
	{"string in modulo", "return '10' % 3", `the string "10" as a number`, "return 10 % 3"},
	{"string in math.floor", "return math.floor('10')", `the string "10" as a number`, "return math.floor(10)"},
	{"string as a loop's bound", "for i = 1, KEYS[1] do end",
		`the string "1" as a number`, "for i = 1, #KEYS do end"},
	{"step of 0", "for i = 1, 2, #ARGV - 1 do break end", "a step of 0", "for i = 1, 2, #ARGV do break end"},
	{"sum of 2^53", "return 9007199254740991 + 1",
		"9007199254740992, a number from 2^53", "return 9007199254740990 + 1"},
	{"literal of 2^53", "return 9007199254740992 == 1",
		"the number 9007199254740992", "return 9007199254740991 == 1"},
	{"octal literal", "return 0010", "octal", "return 10"},
	{"modulo by zero", "return 5 % 0", "5 % 0", "return -5 % 3"},
	{"modulo by infinity", "return -5 % math.huge", "-5 % +Inf", "return 5 % -3"},
	{"length with holes", "return #{1, nil, 3}", "a table with 2 items, the last at 3", "return #{1, 2, 3}"},
	{"unpack with holes", "return {(table.unpack or unpack)({nil, 2})}",
		"a table with 1 items", "return {(table.unpack or unpack)({nil, 2}, 1, 2)}"},
	{"table.insert with holes", "local t = {1, nil, 3} table.insert(t, 4)",
		"a table with 2 items", "local t = {1} table.insert(t, 4)"},
	{"table.insert past the end", "table.insert({}, 5, 1)",
		"table.insert at 5 of 0 items", "table.insert({}, 1, 1)"},
	{"pairs", "for k in pairs({a = 1, b = 2}) do end",
		"a walk over 2 entries", "for k in pairs({a = 1}) do end"},
	{"next", "local k = next({a = 1, b = 2}) return k",
		"a walk over 2 entries", "local t = {a = 1, b = 2} return next(t) ~= nil and not next({})"},
	{"strings compared by order", "return KEYS[1] < ARGV[1]",
		"strings compared by order", "return KEYS[1] == ARGV[1]"},
	{"strings compared by greater", "return KEYS[1] >= ARGV[1]",
		"strings compared by order", "return #KEYS[1] >= #ARGV[1]"},
	{"strings sorted", "table.sort({'b', 'a'})", "table.sort of strings", "table.sort({2, 1})"},
	{"fraction returned", "return 1.5", "1.5 in a reply", "return math.floor(1.5)"},
	{"fraction returned in a table", "return {1, {2.5}}", "2.5 in a reply", "return {1, {2}}"},
	{"reply of 2^53", "return {2 ^ 40 * 2 ^ 12 + 2 ^ 52}",
		"9007199254740992, a number from 2^53", "return {2 ^ 52}"},
	{"fraction as a command's argument", "redis.call('SET', KEYS[1], 1.5)",
		"1.5 in redis.call", "redis.call('SET', KEYS[1], 1)"},
	{"%d of a fraction", "return string.format('%d', 1.5)", "1.5 in %d", "return string.format('%d', 1)"},
	{"%d of a string", "return string.format('%d', '1')",
		`the string "1" as a number`, "return string.format('%s', '1')"},
	{"%c of 0", "return string.format('%c', 0)", "%c of 0", "return string.char(0)"},
	{"%s of nil", "return string.format('%s', nil)",
		"%s of a nil value", "return string.format('%s', tostring(nil))"},
	{"%s of a NUL", "return string.format('%s', 'a\\0b')", "%s of a string with NUL", "return 'a\\0b' .. ''"},
	{"%q of a line's end", "return string.format('%q', '\\r')",
		"%q of control characters", "return string.format('%q', '\"')"},
	{"%s of a large number as a method", "return ('%s'):format(1e14)",
		"100000000000000 as text", "return ('%.0f'):format(1e14)"},
	{"pattern with NUL", "return string.find('a', '[\\0a]')",
		"a pattern with NUL", "return string.find('a\\0', '\\0', 1, true)"},
	{"%f", "return string.find('a', '%f[a]')", "%f in a pattern", "return string.find('%f', '%%f')"},
	{"%z", "return string.gsub('a', '%z', '')", "%z in a pattern", "return string.gsub('a', '%c', '')"},
	{"%g", "return string.match('a', '[%g]')", "%g in a pattern", "return string.match('a', '%a')"},
	{"gmatch that can match nothing", "for w in string.gmatch('a:b', '[^:]*') do end",
		"which can match nothing", "for w in string.gmatch('a:b', '[^:]+') do end"},
	{"gsub that can match nothing", "return string.gsub('ab', 'a?', 'x')",
		"which can match nothing", "return string.gsub('ab', '^a?', 'x')"},
	{"^ in gmatch", "for w in string.gmatch('a', '^a') do end",
		"^ in gmatch", "for w in string.gmatch('a', 'a') do end"},
	{"replacement with a bare %", "return string.gsub('a', 'a', '%x')",
		"in a replacement", "return string.gsub('a', 'a', '%0%%')"},
	{"search behind the end", "return string.find('abc', '', 10)",
		"begins behind the end", "return string.find('abc', '', 4)"},
	{"string.rep with a separator", "return string.rep('a', 2, ',')",
		"string.rep with 3 arguments", "return string.rep('a', 2)"},
	{"string.rep of a fraction", "return string.rep('a', 2.5)",
		"2.5 in string.rep", "return string.rep('a', 2)"},
	{"fraction as a position", "return string.sub('abc', 1.5)",
		"1.5 in string.sub", "return string.sub('abc', 1)"},
	{"math.log with a base", "return math.log(8, 2) > 2",
		"math.log with 2 arguments", "return math.log(8) / math.log(2) > 2"},
	{"math.fmod by zero", "return math.fmod(1, 0)", "math.fmod by 0", "return math.fmod(1, 2)"},
	{"tonumber of an exponent", "return tonumber('1e3')", `tonumber("1e3")`, "return tonumber('1000')"},
	{"tonumber of 2^53", "return tonumber('9007199254740993')",
		"a number from 2^53", "return tonumber('9007199254740991')"},
	{"tonumber of infinity", "return tonumber('inf')", "reads no such number", "return tonumber('in')"},
	{"tonumber with NUL", "return tonumber('1\\0')", "ends at the NUL", "return tonumber('1 ')"},
	{"tonumber with a base and a sign", "return tonumber('-f', 16)",
		"reads no sign", "return tonumber('f', 16)"},
	{"unpack", "return {unpack(KEYS)}",
		"unpack, which Lua 5.4 lacks", "local unpack = table.unpack or unpack return {unpack(KEYS)}"},
	{"loadstring", "return loadstring('return 1')()", "loadstring, which Lua 5.4 lacks", "return 1"},
	{"table.getn", "return table.getn(KEYS)", "table.getn, which Lua 5.4 lacks", "return #KEYS"},
	{"math.pow", "return math.pow(2, 2)", "math.pow, which Lua 5.4 lacks", "return 2 ^ 2"},
	{"math.pow by _G", "return _G.math.pow(2, 2)", "math.pow, which Lua 5.4 lacks", "return 2 ^ 2"},
	{"string.gfind", "return string.gfind('a', 'a')()",
		"string.gfind, which Lua 5.4 lacks", "for w in string.gmatch('a', 'a') do end"},
	{"math.random", "return math.random(3)", "numbers of its own", "return math.max(3)"},
	{"xpcall with arguments", "return xpcall(tostring, tostring, 1)",
		"xpcall with 3 arguments", "return xpcall(tostring, tostring)"},
	{"arg", "local function f(...) return arg.n end f()",
		"arg in a function with ...", "local function f(...) local arg = {...} return #arg end f()"},
	{"metatable with __len", "setmetatable({}, {__len = 1})",
		"__len in the metatable", "setmetatable({}, {__index = KEYS})"},
	{"ipairs with __index", "for _ in ipairs(setmetatable({}, {__index = KEYS})) do end",
		"ipairs of a table with an __index", "for _ in ipairs({}) do end"},
}

// TestPortable puts each script on the third line, which is where what breaks a
// rule must be refused, also within a pcall.
func TestPortable(t *testing.T) {
	for _, test := range portabilityCases {
		t.Run(test.name, func(t *testing.T) {
			for _, covered := range []bool{false, true} {
				engine := New()
				engine.SetPortable(Everywhere)
				if covered {
					engine.SetCoverage(NewCoverage())
				}
				run := func(script string) string {
					source := "-- a comment\nlocal function noop() end\n" + script
					return fmt.Sprint(engine.Do("EVAL", source, "1", "1", "2"))
				}
				if reply := run(test.breaks); !strings.HasPrefix(reply, "PORTABILITY ") || !strings.Contains(reply, test.want) ||
					!strings.HasSuffix(reply, ", on @user_script:3.") {
					t.Errorf("%s\n got %s\nwant %s, on line 3", test.breaks, reply, test.want)
				}
				caught := "pcall(function() " + test.breaks + " end)"
				if !strings.Contains(test.want, "a reply") && !strings.HasPrefix(test.name, "reply") {
					if reply := run(caught); !strings.HasPrefix(reply, "PORTABILITY ") {
						t.Errorf("%s\n got %s\nwant what pcall caught all the same", caught, reply)
					}
				}
				if reply := run(test.instead); strings.Contains(reply, " script: ") {
					t.Errorf("%s\n got %s\nwant no error", test.instead, reply)
				}
			}
		})
	}
}

// TestPortableOnLua runs the portable scripts on the interpreters of PUC-Rio,
// and expects one result.
func TestPortableOnLua(t *testing.T) {
	program := `local function show(v)
  if type(v) == 'number' then return string.format('%.17g', v) end
  if type(v) == 'string' then return (string.gsub(v, '%c', '?')) end
  if type(v) ~= 'table' then return tostring(v) end
  local items = {}
  for i = 1, #v do items[i] = show(v[i]) end
  return '{' .. table.concat(items, ' ') .. '}'
end
redis = { call = function() end }
`
	for _, test := range portabilityCases {
		program += "KEYS, ARGV = { '1' }, { '2' }\n" +
			"print(pcall(function() return show((function() " + test.instead + " end)()) end))\n"
	}
	results := map[string][]string{}
	for _, version := range puclua.Versions {
		results[version] = strings.Split(puclua.Run(t, version, program), "\n")
	}
	for i, test := range portabilityCases {
		of51, of54 := results["5.1"][i], results["5.4"][i]
		if of51 != of54 || !strings.HasPrefix(of51, "true") {
			t.Errorf("%s\nLua 5.1: %s\nLua 5.4: %s", test.instead, of51, of54)
		}
	}
}

// TestPortableSaysAll expects each breach once, whatever a pcall or a loop makes
// of it, and the script to do what it does without the check.
func TestPortableSaysAll(t *testing.T) {
	const source = `for i = 1, 3 do
  redis.call('SET', KEYS[1], 10 / 2 .. '')
end
pcall(function() return 'a' < 'b' end)
return 0.5 .. '', 0010`
	for targets, want := range map[Target]string{
		0: `"0.5"`,
		Everywhere: "PORTABILITY 5, a float, as text: Lua 5.4 writes 5.0; use math.floor or string.format; " +
			"line 4: strings compared by order: it follows the server's locale, and in gopher-lua the bytes; " +
			"line 5: the fraction 0.5 as text: Lua 5.1 and 5.4 write 14 digits, gopher-lua all; use string.format; " +
			"line 5: a number that begins with 0: gopher-lua reads it as octal script: " + digestOf(source) + ", on @user_script:2.",
		Lua54: "PORTABILITY 5, a float, as text: Lua 5.4 writes 5.0; use math.floor or string.format script: " +
			digestOf(source) + ", on @user_script:2.",
		Platforms: "PORTABILITY strings compared by order: it follows the server's locale, and in gopher-lua the bytes script: " +
			digestOf(source) + ", on @user_script:4.",
	} {
		engine := New()
		engine.SetPortable(targets)
		if got := Text(engine.Run(source, []string{"k"})); got != want {
			t.Errorf("targets %d\n got %s\nwant %s", targets, got, want)
		}
		if got := engine.Do("GET", "k"); got != "5" {
			t.Errorf("targets %d: the script has put %v", targets, got)
		}
	}
}
