package luatest_test

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// showLua is Lua code that makes a text of any values, the same for equal ones:
// show(...) and attempt(f, ...).
const showLua = `
local function text(v, depth)
	if type(v) == 'number' then return string.format('%.17g', v) end
	if type(v) ~= 'table' then return type(v) .. ':' .. tostring(v) end
	if depth > 20 then return '...' end
	local items = {}
	for k, item in pairs(v) do items[#items + 1] = text(k, depth + 1) .. '=' .. text(item, depth + 1) end
	table.sort(items)
	return '{' .. table.concat(items, ',') .. '}'
end
local function show(...)
	local shown = {}
	for i = 1, select('#', ...) do shown[i] = text(select(i, ...), 0) end
	return table.concat(shown, ' ')
end
local function attempt(f, ...) return show(pcall(f, ...)) end
`

// oneOf draws one of several strings.
func oneOf(r *rand.Rand, items ...string) string { return items[r.Intn(len(items))] }

// some joins up to n strings that item draws.
func some(r *rand.Rand, n int, item func() string) string {
	var b strings.Builder
	for range r.Intn(n + 1) {
		b.WriteString(item())
	}
	return b.String()
}

func randomPattern(r *rand.Rand) string {
	class := func() string {
		return oneOf(r, "a", "b", "-", ".", "%a", "%d", "%s", "%w", "%W", "%z", "%.", "%-", "[ab]", "[^a]", "[%a-]",
			"[a-c]", "[]a]", "[^]]", "[%]b]", "[b-]", "\xff", "%x", "%p", "%u")
	}
	return some(r, 7, func() string {
		switch r.Intn(12) {
		case 0:
			return "("
		case 1:
			return ")"
		case 2:
			return oneOf(r, "()", "%1", "%2", "%b()", "%bab", "%f[%a]", "%f[^b]", "%f[%z]")
		case 3:
			return oneOf(r, "^", "$", "%", "[", "]", "%f", "%b", "\x00", "*", "-", "%0", "[a", "[%", "[^")
		case 4:
			return "(" + class() + oneOf(r, "", "*", "+", "-", "?") + ")"
		}
		return class() + oneOf(r, "", "", "*", "+", "-", "?")
	})
}

func randomSubject(r *rand.Rand) string {
	return some(r, 12, func() string {
		return oneOf(r, "a", "b", "c", "(", ")", " ", "-", "A", "1", "\x00", "\xff", ".", "]")
	})
}

func randomJSON(r *rand.Rand) string {
	return some(r, 9, func() string {
		return oneOf(r, "{", "}", "[", "]", ",", ":", `"a"`, `"b":`, "1", "-", "2.5e3", "true", "null", " ",
			`"\u00e9"`, `"\ud83d\ude00"`, "inf", "0x1F", "+1", `"`, `\`, "\x00", "nul", "[1,2]", `{"a":1}`, ",", "]", "}",
			"1e400", "-nan", "\t", "-0", ".5", "01")
	})
}

// randomBytes are often MessagePack. Wide integers are left out: as keys they
// are what gopher-lua's tables are bad at.
func randomBytes(r *rand.Rand, n int) string {
	narrow := strings.NewReplacer("\xca", "\x01", "\xce", "\xcd", "\xd2", "\xd1")
	return narrow.Replace(some(r, n, func() string {
		return oneOf(r, string([]byte{byte(r.Intn(256))}), string([]byte{byte(0x80 + r.Intn(96))}), "\x01", "a")
	}))
}

func randomLayout(r *rand.Rand) string {
	return some(r, 6, func() string {
		return oneOf(r, "b", "B", "h", "H", "l", "L", "T", "i", "I", "f", "d", "s", "x", "c", "c0", "c2", "i1", "i3",
			"I8", "i9", "I16", ">", "<", "!", "!1", "!2", "!4", "!8", " ", "i33", "!3", "z", "c3", "i0")
	})
}

func randomNumber(r *rand.Rand) string {
	switch r.Intn(6) {
	case 0:
		return strconv.Itoa(r.Intn(300) - 150)
	case 1:
		return fmt.Sprint(r.NormFloat64())
	case 2:
		return oneOf(r, "0", "-0", "inf", "-inf", "nan", "1e15", "1e14", "9007199254740993", "1e300", "-1e-300",
			"0.1", "2147483648", "-2147483649", "9.3e18", "-9.3e18", "1.9e19", "0x10", "010", " 7 ", "1e", "x",
			"", "--1", "0b1", "1_0", "5.", ".5")
	case 3:
		return fmt.Sprint(r.Int63n(1<<54) - 1<<53)
	case 4:
		return fmt.Sprint(float64(r.Intn(2000)-1000) / 8)
	}
	return fmt.Sprintf("%.0f", r.ExpFloat64()*1e10)
}

func randomFormat(r *rand.Rand) string {
	flags := some(r, 2, func() string { return oneOf(r, "-", "+", " ", "#", "0") })
	return "%" + flags + oneOf(r, "", "", "5", "12") + oneOf(r, "", "", ".", ".0", ".3", ".10") +
		oneOf(r, "d", "i", "u", "x", "X", "o", "c", "e", "E", "f", "g", "G", "s", "q")
}

// TestLibrariesAgainstServer compares library functions on random arguments. A
// case is a line of Lua that says what to do with the arguments a and b.
func TestLibrariesAgainstServer(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		engine := luatest.New()
		server := dial(t, s.Addr)
		for _, test := range []struct {
			name, lua string
			a, b      func(*rand.Rand) string
		}{
			{
				"find", "return attempt(string.find, a, b, 2) .. attempt(string.match, a, b)",
				randomSubject, randomPattern,
			},
			{
				"gsub", "return attempt(string.gsub, a, b, '<%0%1>') .. attempt(string.gsub, a, b, show)",
				randomSubject, randomPattern,
			},
			{
				"gmatch", `return attempt(function()
				local t = {} for x, y in a:gmatch(b) do t[#t+1] = show(x, y) end return t end)`,
				randomSubject, randomPattern,
			},
			{"cjson", "return attempt(cjson.decode, a)", randomJSON, randomJSON},
			{
				"cmsgpack", "return attempt(cmsgpack.unpack, a) .. attempt(cmsgpack.unpack_limit, b, 2, 1)",
				func(r *rand.Rand) string { return randomBytes(r, 12) },
				func(r *rand.Rand) string { return randomBytes(r, 12) },
			},
			{
				"struct", `return attempt(struct.unpack, a, b) .. attempt(struct.size, a) ..
				attempt(struct.pack, a, 1, -2.5, '7', 'text', 2^40)`,
				randomLayout, func(r *rand.Rand) string { return randomBytes(r, 40) },
			},
			{
				"numbers", `local x, y = tonumber(a), tonumber(b)
				return show(x, y, tonumber(a, 16), tonumber(b, 36)) ..
				attempt(function() return (a .. '') + (b .. ''), (a .. '') * 2, -(a .. '') end) ..
				attempt(cjson.encode, x) .. attempt(cmsgpack.pack, x) .. attempt(bit.bxor, x, y) .. tostring(x)`,
				randomNumber, randomNumber,
			},
			{"format", "return attempt(string.format, a, b)", randomFormat, randomNumber},
		} {
			t.Run(test.name, func(t *testing.T) {
				script := showLua + "local function case(a, b) " + test.lua + " end\n" +
					"local r = {} for i = 1, #ARGV, 2 do r[#r + 1] = case(ARGV[i], ARGV[i + 1]) end return r"
				const cases = 2000
				r := rand.New(rand.NewSource(1))
				args := []string{"EVAL", script, "0"}
				for range cases {
					args = append(args, test.a(r), test.b(r))
				}
				got, want := string(luatest.AppendReply(nil, engine.Do(args...))), server.do(t, args...)
				if got == want {
					return
				}
				// One at a time, to name those that differ.
				for i := 3; i < len(args); i += 2 {
					args := []string{"EVAL", script, "0", args[i], args[i+1]}
					got, want := string(luatest.AppendReply(nil, engine.Do(args...))), server.do(t, args...)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%q\n got %q\nwant %q", args[3:], got, want)
					}
				}
				t.Error("the replies differ")
			})
		}
	})
}
