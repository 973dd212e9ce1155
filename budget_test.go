package wildkey_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
)

var (
	comment     = regexp.MustCompile(`(?m)^-- *`)
	callFormula = regexp.MustCompile(`calls: (?:at most )?([^,\n]+)(?:, for values ([^,\n]+))?`)
)

// callBudget is the number of redis.calls that the COST line of a script names,
// worked out for some n, c, t, p, d, reads and M.
func callBudget(t testing.TB, b *backend, script, locals string, values bool) int {
	t.Helper()
	for _, s := range wildkey.Scripts() {
		if s.Name != script {
			continue
		}
		found := callFormula.FindStringSubmatch(comment.ReplaceAllString(s.Source, ""))
		if found == nil {
			t.Fatalf("the COST of %s.lua names no calls", script)
		}
		formula := found[1]
		if values {
			formula = found[2]
		}
		return int(b.do(t, "EVAL", "local ceil = math.ceil; "+locals+"; return "+formula, 0).(int64))
	}
	t.Fatalf("there is no %s.lua", script)
	return 0
}

// TestCallBudgets holds each script to the calls that its COST line names, as
// a function of the records and whatever the size of the index.
func TestCallBudgets(t *testing.T) {
	for _, n := range []int{1, 2, 10, 499, 500, 501, 999, 1000, 1001, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			onEngine(t, func(t *testing.T, b *backend) {
				cache := b.cache(t, wildkey.Options{MaxRecords: n + 1})
				must(t, cache.Load(ctx))
				calls := func(act func() error) int {
					b.engine.ResetTrace()
					must(t, act())
					made := 0
					for _, call := range b.engine.Trace() {
						if call.Script != "" {
							made++
						}
					}
					return made
				}
				hold := func(name string, got, want int) {
					t.Helper()
					if got != want {
						t.Errorf("%s of %d records makes %d calls, its COST line says %d", name, n, got, want)
					}
				}
				var records []wildkey.Record
				var keys []wildkey.Key
				timeless, conditions := 0, 0
				for i := range n {
					record := rec(wildkey.K("n", i), "v")
					if i%3 == 1 {
						record.TTL = wildkey.NoExpiry
						timeless++
					}
					if i%4 == 2 {
						record.If = wildkey.Absent
						conditions++
					}
					records, keys = append(records, record), append(keys, record.Key)
				}
				// Some garbage to purge: less than a put may.
				for i := range n {
					b.do(t, "ZADD", "{test}/keys", 0, fmt.Sprintf("old:%d", i))
					b.do(t, "ZADD", "{test}/expiry", 1, fmt.Sprintf("old:%d", i))
				}
				put := calls(func() error { return cache.Put(ctx, records...) })
				hold("put", put, callBudget(t, b, "put",
					fmt.Sprintf("local n, c, t, p = %d, %d, %d, %d", n, conditions, n-timeless, n), false))

				count := fmt.Sprintf("local n, M = %d, %d", n, n)
				touch := calls(func() error { _, err := cache.Touch(ctx, time.Minute, keys...); return err })
				hold("touch", touch, callBudget(t, b, "touch", count+"; local k = 0", false))

				names := []string{"{test}/keys", "{test}/expiry"}
				keep := slices.Repeat([]any{"keep"}, n)
				for _, key := range keys {
					names = append(names, "{test}:"+key.String())
				}
				for i, record := range records {
					if record.TTL == wildkey.NoExpiry {
						b.do(t, "PERSIST", names[2+i])
					}
				}
				digest := load(t, b.client, "touch")
				touch = calls(func() error { return b.client.EvalSha(ctx, digest, names, keep...).Err() })
				hold("touch with keep", touch,
					callBudget(t, b, "touch", fmt.Sprintf("%s; local k = %d", count, n-timeless), false))

				digest = load(t, b.client, "sweep")
				for _, name := range names[2:] {
					b.do(t, "DEL", name)
				}
				for i := range n {
					b.do(t, "ZADD", "{test}/expiry", 1, fmt.Sprintf("old:%d", i))
				}
				sweep := calls(func() error { return b.client.EvalSha(ctx, digest, names, n).Err() })
				hold("sweep", sweep, callBudget(t, b, "sweep", fmt.Sprintf("local n, p, d = %d, %d, %d", n, n, n), false))

				must(t, cache.Put(ctx, records...))
				digest = load(t, b.client, "delete")
				values := calls(func() error { return b.client.EvalSha(ctx, digest, names, "values").Err() })
				hold("delete for values", values, callBudget(t, b, "delete", count, true))
				number := calls(func() error { _, err := cache.Delete(ctx, keys...); return err })
				hold("delete", number, callBudget(t, b, "delete", count, false))
			})
		})
	}
}

// TestCallBudgetOfMatch walks every kind of pattern, with and without expired
// entries, under bounds of any size.
func TestCallBudgetOfMatch(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		for user := range 30 {
			for item := range 20 {
				must(t, cache.Put(ctx, rec(wildkey.K("user", user, "item", item), "v")))
			}
			must(t, cache.Put(ctx, rec(wildkey.K("user", user, "session", "s"), "v")))
		}
		b.do(t, "ZADD", "{test}/keys", 0, "user:7:session:old")
		digest := load(t, b.client, "match")
		for _, expired := range []int{0, 1} {
			for _, want := range []string{"values", "keys", "count"} {
				for _, terms := range []string{"**", "=user *", "=user * =session *", "=user * =none", "* ^i **", "* * * =19"} {
					for _, bound := range []int{1, 7, 100, 1000} {
						args := []any{want, "", bound, bound, 100_000}
						for _, term := range strings.Fields(terms) {
							args = append(args, term)
						}
						b.engine.ResetTrace()
						reply, err := b.client.EvalSha(ctx, digest, []string{"{test}/keys", "{test}/expiry"}, args...).Slice()
						must(t, err)
						trace := scriptCalls(b.engine.Trace())
						lookUps := strings.Count(trace, "MGET") + strings.Count(trace, "ZSCORE")
						if want != "values" && expired == 0 && lookUps > 0 {
							t.Errorf("%s of %s looks up %d entries where none has expired", want, terms, lookUps)
						}
						stale := 0
						if want == "values" {
							stale = len(reply[2].([]any))
						}
						budget := callBudget(t, b, "match",
							fmt.Sprintf("local reads, M, S = %d, %d, %d", reply[1], lookUps-stale, stale), false)
						if made := strings.Count(trace, ",") + 1; made > budget {
							t.Errorf("%s of %s within %d: %d calls for %d entries read, its COST line says %d",
								want, terms, bound, made, reply[1], budget)
						}
					}
				}
			}
			b.do(t, "ZADD", "{test}/expiry", 1, "user:7:session:old")
		}
	})
}

// TestLeapsFollowTheResults: what lies between the matches costs nothing.
func TestLeapsFollowTheResults(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		for user := range 50 {
			for item := range 20 {
				must(t, cache.Put(ctx, rec(wildkey.K("user", user, "item", item), "v")))
			}
			must(t, cache.Put(ctx, rec(wildkey.K("user", user, "session", "s"), "v")))
		}
		looks := func(pattern string) int {
			b.engine.ResetTrace()
			_, err := cache.All(ctx, wildkey.MustParsePattern(pattern))
			must(t, err)
			return strings.Count(scriptCalls(b.engine.Trace()), "ZRANGEBYLEX")
		}
		for _, row := range []struct {
			pattern, why string
			most         int
		}{
			{"user:*:session:*", "a leap to a user's sessions and one past them", 2*50 + 2},
			{"user:*:*:*", "1,050 entries all of which match: chunks of 4, 8, 16 ... in three pages", 18},
			{"user:*:session:none", "a leap more, over the session that is there", 3*50 + 2},
			{"user:7:session:*", "one user", 1},
		} {
			if got := looks(row.pattern); got > row.most {
				t.Errorf("%s takes %d looks at the index, want at most %d: %s", row.pattern, got, row.most, row.why)
			}
		}
	})
}

// TestWorstPages has keys and patterns made to be slow: each entry that is read
// is as long, or as deep, as a key can be, or just short of counting as two
// reads, and is compared to its end before it does not match. It holds a page
// at default bounds to the work and to the bytes of the index that this may be;
// with -v it logs the time that a server takes for it.
func TestWorstPages(t *testing.T) {
	const reads, most = 1_000, 4_000_000 // instructions
	a := func(n int) string { return strings.Repeat("a", n) }
	deep := func(segments int) string { return "%06d" + strings.Repeat(":a", segments-1) }
	stars := func(n int, last ...string) []string { return append(slices.Repeat([]string{"*"}, n), last...) }
	for _, row := range []struct {
		name, key string // the key in the form of fmt, with its number
		terms     []string
	}{
		{"too short by a segment", deep(2046), stars(2047)},
		{"another last segment", deep(2046), stars(2045, "=b")},
		{"prefixes, and another last segment", deep(2046), append(stars(1, slices.Repeat([]string{"^a"}, 2044)...), "=b")},
		{"all match", deep(2046), stars(2046)},
		{"too deep", deep(2046), stars(1)},
		{"short of two reads, too short by a segment", deep(125), stars(126)},
		{"short of two reads, another last segment", deep(125), stars(124, "=b")},
		{"a long segment that differs in its last byte", "%06d:" + a(4000) + "a", stars(1, "="+a(4000)+"b")},
		{"a long segment that goes on", "%06d:" + a(4000) + "a", stars(1, "="+a(4000))},
		{"a long common head", a(4000) + "%06d:a", stars(1, "=b")},
		{"a long common literal", a(4000) + ":%06d:a", []string{"=" + a(4000), "*", "=b"}},
		{"a long prefix", a(4000) + "%06d", []string{"^" + a(4000)}},
	} {
		page := func(t *testing.T, b *backend, want string) {
			t.Helper()
			add := []any{"ZADD", "{test}/keys"}
			for i := range reads + 200 {
				add = append(add, 0, fmt.Sprintf(row.key, i))
			}
			b.do(t, "FLUSHALL")
			b.do(t, add...)
			args := []any{want, "", 500, reads, 1 << 20}
			for _, term := range row.terms {
				args = append(args, term)
			}
			digest := load(t, b.client, "match")
			if b.engine != nil {
				b.engine.ResetTrace()
			}
			must(t, b.client.EvalSha(ctx, digest, []string{"{test}/keys", "{test}/expiry"}, args...).Err())
		}
		t.Run(row.name, func(t *testing.T) {
			onEngine(t, func(t *testing.T, b *backend) {
				for _, want := range []string{"values", "keys", "count"} {
					page(t, b, want)
					fetched := 0
					for _, call := range b.engine.Trace() {
						if entries, ok := call.Reply.([]any); ok && call.Args[0] == "ZRANGEBYLEX" {
							for _, entry := range entries {
								fetched += len(entry.(string))
							}
						}
					}
					work := b.engine.Instructions()
					t.Logf("%s: %d instructions, %d bytes of the index", want, work, fetched)
					// Of four entries that are read before a leap, three are not looked at.
					if work > most || fetched > 4*256*reads {
						t.Errorf("%s: %d instructions, at most %d; %d bytes of the index, at most %d",
							want, work, most, fetched, 4*256*reads)
					}
				}
			})
			if testing.Verbose() { // a time to look at, which no test may judge
				onServers(t, func(t *testing.T, b *backend) {
					t.Logf("count: %v on the server, the shortest of three", shortestCall(t, b, func() { page(t, b, "count") }))
				})
			}
		})
	}
}

// TestWorstWrites names as many records as a Cache does at most, with the keys
// that take put.lua longest, and as much garbage as it purges; and has sweep.lua
// purge as much as it ever will. It holds each script to the work that this may
// be; with -v it logs what a server takes.
func TestWorstWrites(t *testing.T) {
	const n = 250
	name := func(i int) string { return fmt.Sprintf("%06d:", i) + strings.Repeat("%00", 1363) }
	keys := []string{"{test}/keys", "{test}/expiry"}
	for i := range n {
		keys = append(keys, "{test}:"+name(i))
	}
	repeated := func(args ...any) []any { return slices.Repeat(args, n) }
	for _, row := range []struct {
		script  string
		args    []any
		garbage int
		most    int64 // instructions
	}{
		{"put", repeated("v", "3600000", "*"), 64 + 2*n, 2_000_000},
		{"touch", repeated("3600000"), 64 + 2*n, 30_000},
		{"delete", []any{"values"}, 64 + 2*n, 10_000},
		{"sweep", []any{64 + 2*n}, 64 + 2*n, 20_000},
		{"sweep", []any{9_999}, 9_999, 200_000},
	} {
		call := func(t *testing.T, b *backend) {
			t.Helper()
			b.do(t, "FLUSHALL")
			if row.script == "touch" || row.script == "delete" {
				must(t, b.client.EvalSha(ctx, load(t, b.client, "put"), keys, repeated("v", "3600000", "*")...).Err())
			}
			order, expiry := []any{"ZADD", keys[0]}, []any{"ZADD", keys[1]}
			for i := range row.garbage {
				order, expiry = append(order, 0, name(n+i)), append(expiry, 1, name(n+i))
			}
			b.do(t, order...)
			b.do(t, expiry...)
			digest := load(t, b.client, row.script)
			if b.engine != nil {
				b.engine.ResetTrace()
			}
			must(t, b.client.EvalSha(ctx, digest, keys, row.args...).Err())
		}
		t.Run(fmt.Sprintf("%s, %d expired", row.script, row.garbage), func(t *testing.T) {
			onEngine(t, func(t *testing.T, b *backend) {
				call(t, b)
				work := b.engine.Instructions()
				if t.Logf("%d instructions", work); work > row.most {
					t.Errorf("%d instructions, at most %d", work, row.most)
				}
			})
			if testing.Verbose() {
				onServers(t, func(t *testing.T, b *backend) {
					t.Logf("%v on the server, the shortest of three", shortestCall(t, b, func() { call(t, b) }))
				})
			}
		})
	}
}

// shortestCall is the least time, of three, that a server takes for the last
// script that call has it run, as its slow log has it.
func shortestCall(t *testing.T, b *backend, call func()) (shortest time.Duration) {
	t.Helper()
	b.do(t, "CONFIG", "SET", "slowlog-log-slower-than", 0)
	for range 3 {
		call()
		for _, slow := range b.client.SlowLogGet(ctx, 5).Val() {
			if strings.EqualFold(slow.Args[0], "EVALSHA") {
				if shortest == 0 || slow.Duration < shortest {
					shortest = slow.Duration
				}
				break
			}
		}
	}
	return shortest
}
