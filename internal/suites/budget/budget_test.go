// Package budget holds the scripts to the calls and the work that their headers
// promise, whatever the size of the index.
package budget

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

// scriptCalls returns the commands that scripts run while act does its work.
func scriptCalls(t *testing.T, b *backend.Backend, act func() error) []luatest.Call {
	t.Helper()
	b.Engine.ResetTrace()
	backend.Must(t, act())
	return slices.DeleteFunc(b.Engine.Trace(), func(c luatest.Call) bool { return c.Script == "" })
}

// named counts the calls of one command.
func named(calls []luatest.Call, command string) (n int) {
	for _, call := range calls {
		if call.Args[0] == command {
			n++
		}
	}
	return n
}

// TestCallBudgets holds each script to just the calls that its COST line names,
// as a function of the records and whatever the size of the index. What put.lua
// may call for collecting is held in TestCollectingIsBounded.
func TestCallBudgets(t *testing.T) {
	for _, n := range []int{1, 2, 10, 499, 500, 501, 999, 1000, 1001, 2500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				names := []string{"{test}/keys"}
				for i := range n {
					names = append(names, fmt.Sprintf("{test}:n:%d", i))
				}
				hold := func(name, script, reply, locals string, unused int, args ...any) {
					t.Helper()
					digest := corpus.Load(t, b.Client, script)
					made := len(scriptCalls(t, b, func() error { return b.Client.EvalSha(ctx, digest, names, args...).Err() }))
					if budget := header.CallBudget(t, b, script, locals, reply); made != budget-unused {
						t.Errorf("%s of %d records makes %d calls, want %d: the COST line names %d", name, n, made, budget-unused, budget)
					}
				}
				// The COST line allows three calls for collecting that look at nothing. A put over old records makes
				// none of them. Without a put, the ZCARD is made early, as it finds out a foreign key in the index's place.
				const collecting, withoutPut = 3, 2
				put := func(c, p, t, d int) string {
					return fmt.Sprintf("local c, p, t, d, e = %d, %d, %d, %d, 0", c, p, t, d)
				}
				repeat := func(args ...any) []any { return slices.Repeat(args, n) }
				backend.Must(t, b.Client.EvalSha(ctx, corpus.Load(t, b.Client, "put"), names, repeat("never", "-", "v")...).Err())
				hold("put", "put", "", put(0, n, 0, 0), collecting, repeat("60000", "*", "v")...)
				hold("put for ever", "put", "", put(0, n, 0, 0), collecting, repeat("never", "*", "v")...)
				hold("put if present", "put", "", put(n, n, 0, 0), collecting, repeat("60000", "+", "v")...)
				hold("put if equal", "put", "", put(n, n, 0, 0), collecting, repeat("60000", "=v", "v")...)
				hold("put with keep", "put", "", put(n, n, 0, 0), collecting, repeat("keep", "*", "v")...)
				hold("put with keep, if equal", "put", "", put(2*n, n, 0, 0), collecting, repeat("keep", "=v", "v")...)
				hold("check", "put", "", put(n, 0, 0, 0), withoutPut, repeat("check", "+", "")...)
				hold("touch, for ever", "put", "", put(0, 0, n, 0), withoutPut, repeat("touch never", "*", "")...)
				hold("touch", "put", "", put(0, 0, n, 0), withoutPut+n, repeat("touch 60000", "*", "")...)
				actions := []string{"60000", "never", "keep", "touch never", "delete", "check"}
				conditions := []string{"*", "+", "=v", "#7a38d8cbd20d9932ba948efaa364bb62651d5ad4"} // of v
				var args []any
				count := map[string]int{}
				for i := range n {
					action, condition, value := actions[i%len(actions)], conditions[i%len(conditions)], ""
					if verb, _, _ := strings.Cut(action, " "); verb == "60000" || verb == "never" || verb == "keep" {
						value = "v"
						count["put"]++
					} else {
						count[verb]++
					}
					if action == "keep" && condition != "+" { // one EXISTS is for both
						count["looks"]++
					}
					if condition != "*" {
						count["looks"]++
					}
					args = append(args, action, condition, value)
				}
				hold("a mixed put", "put", "", put(count["looks"], count["put"], count["touch"], count["delete"]), collecting, args...)
				locals := fmt.Sprintf("local n = %d", n)
				hold("delete for values", "delete", "values", locals, 0, "values")
				hold("delete", "delete", "count", locals, 0, "count")

				args = []any{"ZADD", names[0]}
				for i := range n {
					args = append(args, 0, fmt.Sprintf("n:%d", i))
				}
				b.Do(t, args...)
				hold("sweep", "sweep", "", fmt.Sprintf("local n, s = %d, %d", n, n), 0)
			})
		})
	}
}

// TestCallBudgetOfMatch walks every kind of pattern, with and without stale
// entries, under bounds of any size.
func TestCallBudgetOfMatch(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		var stale []any
		for user := range 30 {
			for item := range 20 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "item", item), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "session", "s"), "v")))
			stale = append(stale, 0, fmt.Sprintf("user:%d:session:old", user), 0, fmt.Sprintf("user:%d:item:1old", user))
		}
		index := cache.Layout().Index(0)
		digest := corpus.Load(t, b.Client, "match")
		for _, clean := range []bool{true, false} {
			for _, want := range []string{"values", "records", "keys", "count", "index"} {
				for _, terms := range []string{"**", "=user *", "=user * =session *", "=user * =none", "* ^i* **", "* * * =19"} {
					for _, bounds := range [][]any{{1, 1, 1}, {1, 9, 30}, {7, 7, 999}, {99, 7, 999}, {100, 100, 999}, {1000, 1000, 99_999}} {
						args := append([]any{want, ""}, bounds...)
						for _, term := range strings.Fields(terms) {
							args = append(args, term)
						}
						var reply []any
						made := scriptCalls(t, b, func() (err error) {
							reply, err = b.Client.EvalSha(ctx, digest, []string{index}, args...).Slice()
							return err
						})
						matches := reply[3]
						switch found := reply[3].(type) {
						case []any:
							matches = len(found) / map[string]int{"values": 2, "records": 3, "keys": 1, "index": 1}[want]
						}
						// As many chunks are asked for as entries are read, at most, and one that is empty.
						chunks := named(made, "ZRANGEBYLEX")
						if chunks > int(reply[1].(int64))+1 {
							t.Errorf("%s of %s within %v: %d chunks of %d entries", want, terms, bounds, chunks, reply[1])
						}
						locals := fmt.Sprintf("local reads, M, S = %d, %d, %d", chunks, matches, len(reply[2].([]any)))
						if budget := header.CallBudget(t, b, "match", locals, want); len(made) > budget {
							t.Errorf("%s of %s within %v: %d calls where %s; its COST line says %d", want, terms, bounds, len(made), locals, budget)
						}
						if looks := named(made, "EXISTS"); clean && (want == "keys" || want == "count") && looks > chunks {
							t.Errorf("%s of %s: %d looks for %d chunks, where no entry is stale", want, terms, looks, chunks)
						}
					}
				}
			}
			b.Do(t, append([]any{"ZADD", index}, stale...)...)
		}
	})
}

// TestLeapsFollowTheResults: what lies between the matches costs nothing.
func TestLeapsFollowTheResults(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for user := range 50 {
			for item := range 40 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "item", item), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "session", "s"), "v")))
		}
		const perLeap = 4 // entries that a look reads after a leap
		for _, row := range []struct {
			pattern, why         string
			mostLooks, mostReads int
		}{
			{"user:*:session:*", "a leap to a user's sessions and one past them", 2*50 + 2, perLeap * (2*50 + 2)},
			{"user:*:*:*", "2,050 entries all of which match: chunks of 4, 8, 16 ... in five pages", 32, 2050},
			{"user:*:session:none", "a leap more, over the session that is there", 3*50 + 2, perLeap * (3*50 + 2)},
			{"user:7:session:*", "one user", 1, perLeap},
		} {
			made := scriptCalls(t, b, func() error {
				_, err := cache.Collect(ctx, wildkey.MustParsePattern(row.pattern))
				return err
			})
			looks := named(made, "ZRANGEBYLEX")
			if reads, _ := looked(made); looks > row.mostLooks || reads > row.mostReads {
				t.Errorf("%s takes %d looks at the index and reads %d entries, want at most %d and %d: %s",
					row.pattern, looks, reads, row.mostLooks, row.mostReads, row.why)
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
		var page wildkey.Page
		made := scriptCalls(t, b, func() (err error) {
			page, err = cache.Page(ctx, wildkey.MustParsePattern("**"), wildkey.PageOptions{})
			return err
		})
		// 25 small ones; another of 900 bytes passes the bound.
		if fetched := named(made, "MGET"); len(page.Entries) != 25 || fetched > 26 {
			t.Errorf("a page of %d entries has fetched %d values, want 25 and at most 26", len(page.Entries), fetched)
		}
	})
}
