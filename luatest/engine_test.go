package luatest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// expect runs one command and compares its reply.
func expect(t *testing.T, e *Engine, want any, args ...string) {
	t.Helper()
	if diff := cmp.Diff(want, e.Do(args...)); diff != "" {
		t.Errorf("%q: (-want +got)\n%s", args, diff)
	}
}

func TestClock(t *testing.T) {
	e := New()
	if want := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); !e.Now().Equal(want) {
		t.Errorf("a new engine's clock is at %v, want %v", e.Now(), want)
	}
	e.SetNow(time.UnixMicro(1_000_000_123_456))
	expect(t, e, []any{"1000000", "123456"}, "TIME")
	expect(t, e, []any{"1000000", "123456"}, "EVAL", "return redis.call('TIME')", "0")
	e.Advance(time.Second)
	expect(t, e, []any{"1000001", "123456"}, "TIME")
}

func TestExpiryIsStrict(t *testing.T) {
	e := New()
	e.Do("SET", "k", "v", "PX", "100")
	e.Advance(100 * time.Millisecond)
	expect(t, e, "v", "GET", "k") // alive in the very millisecond of its expiry
	expect(t, e, int64(0), "PTTL", "k")
	e.Advance(time.Millisecond)
	if dump := e.Dump(); dump != "" {
		t.Errorf("an expired key is dumped: %s", dump)
	}
	expect(t, e, int64(1), "DBSIZE") // it is collected when it is next met
	expect(t, e, nil, "GET", "k")
	expect(t, e, int64(0), "DBSIZE")
}

func TestExpiredKeysAreInvisible(t *testing.T) {
	for _, args := range [][]string{
		{"EXISTS", "k"}, {"DEL", "k"}, {"STRLEN", "k"}, {"PERSIST", "k"}, {"PEXPIRE", "k", "100"}, {"HLEN", "k"}, {"ZCARD", "k"},
	} {
		e := New()
		e.Do("SET", "k", "v", "PX", "1")
		e.Advance(2 * time.Millisecond)
		expect(t, e, int64(0), args...)
	}
	e := New()
	e.Do("SET", "k", "v", "PX", "1")
	e.Advance(2 * time.Millisecond)
	expect(t, e, []any{}, "KEYS", "*")
	e.Do("SET", "k", "v", "PX", "1")
	e.Advance(2 * time.Millisecond)
	expect(t, e, []any{"0", []any{}}, "SCAN", "0")
	expect(t, e, Status("none"), "TYPE", "k")
	expect(t, e, int64(1), "ZADD", "k", "1", "m")
}

func TestMemoryFull(t *testing.T) {
	e := New()
	e.SetMemoryFull(true)
	expect(t, e, errOOM, "SET", "k", "v")
	expect(t, e, int64(0), "DEL", "k")
	expect(t, e, errOOM, "EVAL", "return redis.pcall('SET', 'k', 'v')", "0")
	expect(t, e, Status("OK"), "EVAL", "redis.call('DEL', 'k') return redis.call('SET', 'k', 'v')", "0")
	e.SetMemoryFull(false)
	expect(t, e, Status("OK"), "SET", "k", "v")
}

func TestTrace(t *testing.T) {
	e := New()
	e.Do("PING")
	e.ResetTrace()
	source := "redis.call('SET', KEYS[1], 5) return redis.pcall('nosuch')"
	e.Do("EVAL", source, "1", "k", "arg")
	e.Do("GET")
	const unknown Error = "ERR Unknown Redis command called from script"
	want := []Call{
		{Args: []string{"EVAL", source, "1", "k", "arg"}, Reply: unknown},
		{Script: digestOf(source), Args: []string{"SET", "k", "5"}, Reply: Status("OK")},
		{Script: digestOf(source), Args: []string{"nosuch"}, Reply: unknown},
		{Args: []string{"GET"}, Reply: wrongArity("get")},
	}
	if diff := cmp.Diff(want, e.Trace()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTraceKeepsTheLatest(t *testing.T) {
	e := New()
	for i := range 2*traceLimit + 10 {
		e.Do("ECHO", fmt.Sprint(i))
	}
	trace := e.Trace()
	if len(trace) < traceLimit || len(trace) > 2*traceLimit {
		t.Errorf("%d calls kept", len(trace))
	}
	if last := trace[len(trace)-1].Args[1]; last != fmt.Sprint(2*traceLimit+9) {
		t.Errorf("the last call kept is %s", last)
	}
}

func TestCallKeys(t *testing.T) {
	for _, test := range []struct{ call, keys string }{
		{"GET k", "k"},
		{"del a b c", "a b c"},
		{"MSET a 1 b 2", "a b"},
		{"ZADD z 1 m", "z"},
		{"EVAL return 2 a b c", "a b"},
		{"EVALSHA x 0 c", ""},
		{"LMOVE a b LEFT LEFT", "a b"},
		{"BLPOP a b 0", "a b"},
		{"BLMPOP 0 2 a b LEFT", "a b"},
		{"SINTERSTORE a b c", "a b c"},
		{"XREAD COUNT 1 streams a b 0 0", "a b"},
		{"XREAD COUNT 1 STREAMS a", ""},
		{"XREAD a 0 STREAMS", ""},
		{"EVAL return 9 a", ""},
		{"PING", ""},
		{"CONFIG GET x", ""},
		{"GET", ""},
		{"nosuch k", ""},
	} {
		if got := strings.Join(Call{Args: strings.Fields(test.call)}.Keys(), " "); got != test.keys {
			t.Errorf("%s has the keys %q, want %q", test.call, got, test.keys)
		}
	}
}

func TestClone(t *testing.T) {
	e := New()
	e.Do("SET", "s", "1", "PX", "5000")
	e.Do("ZADD", "z", "1", "a", "2", "b")
	e.Do("HSET", "h", "f", "v")
	e.Do("RPUSH", "l", "a", "b", "c")
	e.Do("SADD", "ints", "1", "2")
	e.Do("XADD", "x", "1-1", "f", "v")
	e.Do("XADD", "x", "1-2", "f", "v")
	digest := e.Do("SCRIPT", "LOAD", "return redis.call('GET', 's')").(string)
	e.SetMemoryFull(true)
	c := e.Clone()
	if diff := cmp.Diff(e.Dump(), c.Dump()); diff != "" {
		t.Errorf("the clone differs: (-original +clone)\n%s", diff)
	}
	if !c.Now().Equal(e.Now()) || len(c.Trace()) != 0 {
		t.Errorf("the clone's clock is %v, its trace %v", c.Now(), c.Trace())
	}
	expect(t, c, "1", "EVALSHA", digest, "0")
	expect(t, c, errOOM, "SET", "s", "2")

	before := e.Dump()
	c.SetMemoryFull(false)
	for _, args := range [][]string{
		{"APPEND", "s", "x"}, {"PERSIST", "s"}, {"ZADD", "z", "9", "a", "3", "c"}, {"ZREM", "z", "b"},
		{"HSET", "h", "f", "w", "g", "x"}, {"SET", "new", "1"}, {"SCRIPT", "FLUSH"},
		{"LPUSH", "l", "x"}, {"LSET", "l", "1", "y"}, {"LREM", "l", "1", "b"}, {"SADD", "ints", "0"}, {"SREM", "ints", "2"},
		{"XDEL", "x", "1-1"}, {"XADD", "x", "2-1", "f", "w"}, {"XTRIM", "x", "MAXLEN", "1"},
	} {
		c.Do(args...)
	}
	c.Advance(time.Hour)
	if diff := cmp.Diff(before, e.Dump()); diff != "" {
		t.Errorf("a change of the clone shows in the original: (-before +after)\n%s", diff)
	}
	expect(t, e, "1", "EVALSHA", digest, "0")
	expect(t, e, errOOM, "SET", "s", "2")
}

func TestDump(t *testing.T) {
	e := New()
	e.Do("ZADD", "z", "2", "b", "1.5", "a")
	e.Do("HSET", "h", "y", "1", "x", "2")
	e.Do("SET", "a\n", "v", "PXAT", "1704067200500")
	e.Do("RPUSH", "l", "y", "x")
	e.Do("SADD", "m", "y", "x")
	e.Do("XADD", "x", "1-1", "f", "v", "g", "w")
	e.Do("XADD", "x", "1-2", "f", "v")
	e.Do("XDEL", "x", "1-2")
	want := `"a\n" string "v" expires 1704067200500
"h" hash "x" "2" "y" "1"
"l" list "y" "x"
"m" set "x" "y"
"x" stream last 1-2 1-1 "f" "v" "g" "w"
"z" zset 1.5 "a" 2 "b"
`
	if diff := cmp.Diff(want, e.Dump()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRaisedTableWithoutErr(t *testing.T) {
	e := New()
	failed, ok := e.Do("EVAL", "error({1})", "0").(Error)
	if !ok || !strings.Contains(string(failed), "err field") {
		t.Errorf("got %v", failed)
	}
	expect(t, e, int64(1), "EVAL", "return 1", "0")
}

// Whatever a script runs into, the next one finds the engine as it was.
func TestEngineSurvivesScripts(t *testing.T) {
	e := New()
	for _, source := range []string{
		"local function f() return 1 + f() end return f()",
		"local function f() return f() + pcall(f) end return f()",
		"local t = {} t[1] = t return t",
		"local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
		"local co = coroutine.create(function() redis.call('nosuch') end) return {coroutine.resume(co)}",
		"return coroutine.wrap(function() error({err = 'X y'}) end)()",
		"coroutine.yield()",
		"return unpack({}, 1, 1e8)",
		"error(setmetatable({}, {__tostring = error}))",
		"return xpcall(error, error, 1)",
		"local t = {} t[0/0] = 1",
		"return ('x'):rep(-1, {}, nil)",
		"redis.call('SET', 'k', ('x'):rep(1e6)) return redis.call('STRLEN', 'k')",
	} {
		e.Do("EVAL", source, "0")
		expect(t, e, int64(3), "EVAL", "local n = 0 local function f() n = n + #ARGV[1] end f() return n", "0", "abc")
	}
}

func TestCompileErrorsNameTheLine(t *testing.T) {
	const prefix = "ERR Error compiling script (new function): user_script:"
	for source, line := range map[string]int{
		"\n\nfoo bar": 3, "if true then\n\nreturn 1": 3, "return 1 +": 1, "\n::x::": 2, "if x then\n goto y end ::y::": 2,
		"local f = function()\n goto z ::z:: end": 2,
	} {
		want := fmt.Sprintf("%s%d: ", prefix, line)
		if failed, ok := New().Do("EVAL", source, "0").(Error); !ok || !strings.HasPrefix(string(failed), want) {
			t.Errorf("%q: got %v, want the prefix %q", source, failed, want)
		}
	}
}

// scanAll walks from cursor 0 and, between the first page and the second, lets
// change loose on the data. It counts how often each element is met.
func scanAll(t *testing.T, e *Engine, command []string, step int, count string, change func(first []any)) map[string]int {
	t.Helper()
	met := map[string]int{}
	cursor := "0"
	for page := 0; ; page++ {
		args := append(append([]string{}, command...), cursor, "COUNT", count)
		reply, ok := e.Do(args...).([]any)
		if !ok {
			t.Fatalf("%q: %v", args, reply)
		}
		items := reply[1].([]any)
		for i := 0; i < len(items); i += step {
			met[items[i].(string)]++
		}
		if cursor = reply[0].(string); cursor == "0" {
			return met
		}
		if page == 0 {
			change(items)
		}
	}
}

func TestScanAcrossShrink(t *testing.T) {
	const total, kept = 512, 8
	for _, test := range []struct {
		name    string
		command []string
		step    int
		add     func(name string) []string
		remove  func(name string) []string
	}{
		{
			"SCAN", []string{"SCAN"}, 1,
			func(n string) []string { return []string{"SET", n, "v"} },
			func(n string) []string { return []string{"DEL", n} },
		},
		{
			"ZSCAN", []string{"ZSCAN", "z"}, 2,
			func(n string) []string { return []string{"ZADD", "z", "0", n} },
			func(n string) []string { return []string{"ZREM", "z", n} },
		},
		{
			"HSCAN", []string{"HSCAN", "h"}, 2,
			func(n string) []string { return []string{"HSET", "h", n, strings.Repeat("v", compactBytes+1)} },
			func(n string) []string { return []string{"HDEL", "h", n} },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			repeated := 0
			for count := 20; count <= 200; count += 20 {
				e := New()
				for i := range total {
					e.Do(test.add(fmt.Sprint("element:", i))...)
				}
				keep := map[string]bool{}
				met := scanAll(t, e, test.command, test.step, fmt.Sprint(count), func(first []any) {
					// The last ones met lie where the walk goes on, and so are met again.
					for i := len(first) - test.step; i >= 0 && len(keep) < kept; i -= test.step {
						keep[first[i].(string)] = true
					}
					for i := range total {
						if name := fmt.Sprint("element:", i); !keep[name] {
							e.Do(test.remove(name)...)
						}
					}
				})
				for name := range keep {
					if met[name] == 0 {
						t.Errorf("count %d: %s was there all the time and not met", count, name)
					}
					if met[name] > 1 {
						repeated++
					}
				}
			}
			if repeated == 0 {
				t.Error("no element was met twice, which is what a shrinking table does")
			}
		})
	}
}

func TestScanAcrossGrowth(t *testing.T) {
	e := New()
	for i := range 64 {
		e.Do("SET", fmt.Sprint("old:", i), "v")
	}
	met := scanAll(t, e, []string{"SCAN"}, 1, "10", func([]any) {
		for i := range 1000 {
			e.Do("SET", fmt.Sprint("new:", i), "v")
		}
	})
	for i := range 64 {
		if name := fmt.Sprint("old:", i); met[name] != 1 {
			t.Errorf("%s was met %d times", name, met[name])
		}
	}
}

func TestZScanOfSmallSetIsWhole(t *testing.T) {
	whole := func(e *Engine) bool { return e.Do("ZSCAN", "z", "0").([]any)[0] == "0" }
	e := New()
	for i := range compactMembers {
		e.Do("ZADD", "z", "0", fmt.Sprint(i))
	}
	if !whole(e) {
		t.Error("128 members take more than one call")
	}
	e.Do("ZADD", "z", "0", "one more")
	if whole(e) {
		t.Error("129 members take one call")
	}
	e.Do("ZREM", "z", "one more")
	if whole(e) {
		t.Error("a set became small again")
	}
	e.Do("DEL", "z")
	long := strings.Repeat("x", compactBytes)
	for i := range 10 {
		e.Do("ZADD", "z", "0", fmt.Sprint(i))
	}
	wholeInPart := func() bool { return e.Do("ZSCAN", "z", "0", "COUNT", "1").([]any)[0] == "0" }
	e.Do("ZADD", "z", "0", long)
	if !wholeInPart() {
		t.Error("a set with a member of 64 bytes takes more than one call")
	}
	e.Do("ZADD", "z", "0", long+"x")
	if wholeInPart() {
		t.Error("a set with a member of 65 bytes takes one call")
	}
}

func TestSlot(t *testing.T) {
	for key, want := range map[string]int{
		"foo": 12182, "bar": 5061, "": 0, "{foo}x": 12182, "a{foo}{bar}": 12182, "{}foo": 9500, "foo{": 7673, "{{foo}": Slot("{foo"),
		"123456789": 0x31C3,
	} {
		if got := Slot(key); got != want {
			t.Errorf("Slot(%q) = %d, want %d", key, got, want)
		}
	}
	expect(t, New(), int64(12182), "CLUSTER", "KEYSLOT", "foo")
}

func BenchmarkScript(b *testing.B) {
	e := New()
	digest := e.Do("SCRIPT", "LOAD", `
local t = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', 1000)
redis.call('ZADD', KEYS[2], t[1], KEYS[1])
local v = redis.call('GET', KEYS[1])
return {v, redis.call('ZCARD', KEYS[2])}`).(string)
	b.ReportAllocs()
	for range b.N {
		e.Do("EVALSHA", digest, "2", "key", "index", "value")
	}
}
