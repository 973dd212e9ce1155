// Package budget holds the scripts to the calls and the work that their headers
// promise, whatever the size of the index.
package budget

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
)

var ctx = context.Background()

// TestCallBudgets holds each script to the calls that its COST line names, as
// a function of the records and whatever the size of the index.
func TestCallBudgets(t *testing.T) {
	for _, n := range []int{1, 2, 10, 499, 500, 501, 999, 1000, 1001, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{CallRecords: n + 1})
				backend.Must(t, cache.Load(ctx))
				calls := func(act func() error) int {
					b.Engine.ResetTrace()
					backend.Must(t, act())
					made := 0
					for _, call := range b.Engine.Trace() {
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
					record := backend.Rec(wildkey.K("n", i), "v")
					if i%3 == 1 {
						record.TTL = wildkey.NoExpiry
						timeless++
					}
					if i%4 == 2 {
						record.If = wildkey.Absent()
						conditions++
					}
					records, keys = append(records, record), append(keys, record.Key)
				}
				// Some garbage to purge: less than a put may.
				for i := range n {
					b.Do(t, "ZADD", "{test}/keys", 0, fmt.Sprintf("old:%d", i))
					b.Do(t, "ZADD", "{test}/expiry", 1, fmt.Sprintf("old:%d", i))
				}
				put := calls(func() error { return cache.Put(ctx, records...) })
				hold("put", put, header.CallBudget(t, b, "put",
					fmt.Sprintf("local n, c, t, p = %d, %d, %d, %d", n, conditions, n-timeless, n), false))

				count := fmt.Sprintf("local n, M = %d, %d", n, n)
				touch := calls(func() error { _, err := cache.Touch(ctx, time.Minute, keys...); return err })
				hold("touch", touch, header.CallBudget(t, b, "touch", count+"; local k = 0", false))

				names := []string{"{test}/keys", "{test}/expiry"}
				keep := slices.Repeat([]any{"keep"}, n)
				for _, key := range keys {
					names = append(names, "{test}:"+key.String())
				}
				for i, record := range records {
					if record.TTL == wildkey.NoExpiry {
						b.Do(t, "PERSIST", names[2+i])
					}
				}
				digest := corpus.Load(t, b.Client, "touch")
				touch = calls(func() error { return b.Client.EvalSha(ctx, digest, names, keep...).Err() })
				hold("touch with keep", touch,
					header.CallBudget(t, b, "touch", fmt.Sprintf("%s; local k = %d", count, n-timeless), false))

				digest = corpus.Load(t, b.Client, "sweep")
				for _, name := range names[2:] {
					b.Do(t, "DEL", name)
				}
				for i := range n {
					b.Do(t, "ZADD", "{test}/expiry", 1, fmt.Sprintf("old:%d", i))
				}
				sweep := calls(func() error { return b.Client.EvalSha(ctx, digest, names, n).Err() })
				hold("sweep", sweep, header.CallBudget(t, b, "sweep", fmt.Sprintf("local n, p, d = %d, %d, %d", n, n, n), false))

				backend.Must(t, cache.Put(ctx, records...))
				digest = corpus.Load(t, b.Client, "delete")
				values := calls(func() error { return b.Client.EvalSha(ctx, digest, names, "values").Err() })
				hold("delete for values", values, header.CallBudget(t, b, "delete", count, true))
				number := calls(func() error { _, err := cache.Delete(ctx, keys...); return err })
				hold("delete", number, header.CallBudget(t, b, "delete", count, false))
			})
		})
	}
}

// TestCallBudgetOfMatch walks every kind of pattern, with and without expired
// entries, under bounds of any size.
func TestCallBudgetOfMatch(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for user := range 30 {
			for item := range 20 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "item", item), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "session", "s"), "v")))
		}
		b.Do(t, "ZADD", "{test}/keys", 0, "user:7:session:old")
		digest := corpus.Load(t, b.Client, "match")
		for _, expired := range []int{0, 1} {
			for _, want := range []string{"values", "keys", "count"} {
				for _, terms := range []string{"**", "=user *", "=user * =session *", "=user * =none", "* ^i **", "* * * =19"} {
					for _, bound := range []int{1, 7, 100, 1000} {
						args := []any{want, "", bound, bound, 100_000}
						for _, term := range strings.Fields(terms) {
							args = append(args, term)
						}
						b.Engine.ResetTrace()
						reply, err := b.Client.EvalSha(ctx, digest, []string{"{test}/keys", "{test}/expiry"}, args...).Slice()
						backend.Must(t, err)
						trace := b.ScriptCalls()
						lookUps := strings.Count(trace, "MGET") + strings.Count(trace, "ZSCORE")
						if want != "values" && expired == 0 && lookUps > 0 {
							t.Errorf("%s of %s looks up %d entries where none has expired", want, terms, lookUps)
						}
						stale := 0
						if want == "values" {
							stale = len(reply[2].([]any))
						}
						budget := header.CallBudget(t, b, "match",
							fmt.Sprintf("local reads, M, S = %d, %d, %d", reply[1], lookUps-stale, stale), false)
						if made := strings.Count(trace, ",") + 1; made > budget {
							t.Errorf("%s of %s within %d: %d calls for %d entries read, its COST line says %d",
								want, terms, bound, made, reply[1], budget)
						}
					}
				}
			}
			b.Do(t, "ZADD", "{test}/expiry", 1, "user:7:session:old")
		}
	})
}

// TestLeapsFollowTheResults: what lies between the matches costs nothing.
func TestLeapsFollowTheResults(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for user := range 50 {
			for item := range 20 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "item", item), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "session", "s"), "v")))
		}
		looks := func(pattern string) int {
			b.Engine.ResetTrace()
			_, err := cache.Collect(ctx, wildkey.MustParsePattern(pattern))
			backend.Must(t, err)
			return strings.Count(b.ScriptCalls(), "ZRANGEBYLEX")
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

// TestLargeValuesAreReadOneAtATime: a page must not fetch what it will not send.
func TestLargeValuesAreReadOneAtATime(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallBytes: 1000})
		for n := range 50 {
			size := 1
			if n >= 25 {
				size = 900
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a", fmt.Sprintf("%02d", n)), strings.Repeat("v", size))))
		}
		b.Engine.ResetTrace()
		page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), "", 0)
		backend.Must(t, err)
		fetched := strings.Count(b.ScriptCalls(), "MGET")
		if fetched > len(page.Entries)+1 {
			t.Errorf("a page of %d entries has fetched %d values", len(page.Entries), fetched)
		}
	})
}
