package wildkey_test

import (
	"fmt"
	"regexp"
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
func callBudget(t *testing.T, b *backend, script, locals string, values bool) int {
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
				hold("touch", touch, callBudget(t, b, "touch", count, false))

				digest := load(t, b.client, "sweep")
				names := []string{"{test}/keys", "{test}/expiry"}
				for _, key := range keys {
					b.do(t, "DEL", "{test}:"+key.String())
					names = append(names, "{test}:"+key.String())
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
