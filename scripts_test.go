package wildkey_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/luatest"
)

// TestCorpus runs every case on the engine and on a redis-server, and expects
// the same replies and the same keyspace of both.
func TestCorpus(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		t.Run(script.Name, func(t *testing.T) {
			if *corpus.Update {
				backend.OnEngine(t, func(t *testing.T, b *backend.Backend) { corpus.Rewrite(t, b, script.Name) })
			}
			cases := corpus.Read(t, script.Name)
			if len(cases) < 10 {
				t.Errorf("%s has %d cases; at least ten are wanted", corpus.Path(script.Name), len(cases))
			}
			backend.Each(t, func(t *testing.T, b *backend.Backend) {
				for _, want := range cases {
					t.Run(want.Name, func(t *testing.T) {
						got := want.Run(t, b)
						if diff := cmp.Diff(want.String(), got.String()); diff != "" {
							t.Errorf("(-want +got)\n%s", diff)
						}
						b.CheckInvariant(t)
					})
				}
			})
		})
	}
}

// TestScriptHeaders holds the header of each script against its form, and the
// COMMANDS there against the source and against what the corpus makes it call.
func TestScriptHeaders(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		t.Run(script.Name, func(t *testing.T) {
			var fields []string
			for _, field := range header.Fields(script) {
				fields = append(fields, field.Name)
			}
			listed := strings.Fields(header.Text(script, "COMMANDS"))
			if diff := cmp.Diff(strings.Fields("PURPOSE KEYS ARGV RETURNS ERRORS COST COMMANDS"), fields); diff != "" {
				t.Errorf("header fields (-want +got)\n%s", diff)
			}

			if diff := cmp.Diff(listed, header.CalledCommands(t, script)); diff != "" {
				t.Errorf("COMMANDS against the source (-listed +called)\n%s", diff)
			}

			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				called := map[string]bool{}
				for _, one := range corpus.Read(t, script.Name) {
					b.Engine.ResetTrace()
					one.Run(t, b)
					for _, call := range b.Engine.Trace() {
						if call.Script == script.SHA1 {
							called[call.Args[0]] = true
						}
					}
				}
				if diff := cmp.Diff(listed, slices.Sorted(maps.Keys(called))); diff != "" {
					t.Errorf("COMMANDS against the corpus (-listed +called)\n%s", diff)
				}
			})
		})
	}
}

// TestPortability refuses what the design's portability rules refuse and a
// look at the text can tell.
func TestPortability(t *testing.T) {
	forbidden := regexp.MustCompile(`\bpairs\(|\bgoto\b|\bcjson\b|\bcmsgpack\b|'KEYS'|'SCAN'|'TIME'|tostring\(|#!lua|\brequire\b|\r`)
	for _, script := range wildkey.Scripts() {
		code := strings.ReplaceAll(script.Source, "ipairs(", "")
		if found := forbidden.FindString(code); found != "" {
			t.Errorf("%s.lua uses %q", script.Name, found)
		}
	}
}

// TestOrderOfWrites holds the scripts to index first, record last when they
// write, and to record first, index last when they delete.
func TestOrderOfWrites(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		a, c, d := wildkey.K("a"), wildkey.K("c"), wildkey.K("d")
		for _, step := range []struct {
			name string
			call func() error
			want string
		}{
			{"Put", func() error { return cache.Put(ctx, backend.Rec(a, "v")) },
				"ZADD keys, SET a, ZCARD keys"},
			{"Put with NoExpiry", func() error {
				return cache.Put(ctx, wildkey.Record{Key: c, TTL: wildkey.NoExpiry, If: wildkey.Absent()})
			}, "EXISTS c, ZADD keys, SET c, ZCARD keys"},
			{"Touch", func() error { _, err := cache.Touch(ctx, time.Minute, a); return err },
				"ZCARD keys, PEXPIRE a"},
			{"Touch with NoExpiry", func() error { _, err := cache.Touch(ctx, wildkey.NoExpiry, a); return err },
				"ZCARD keys, PERSIST a, EXISTS a"},
			{"Collect", func() error { _, err := cache.Collect(ctx, wildkey.MustParsePattern("**")); return err },
				"ZRANGEBYLEX keys, MGET a, MGET c"},
			{"Count", func() error { _, err := cache.Count(ctx, wildkey.MustParsePattern("**")); return err },
				"ZRANGEBYLEX keys, EXISTS keys"},
			{"Delete", func() error { _, err := cache.Delete(ctx, a); return err },
				"ZCARD keys, UNLINK a, ZREM keys"},
			{"Take", func() error { _, err := cache.Take(ctx, c); return err },
				"ZCARD keys, MGET c, UNLINK c, ZREM keys"},
			{"Apply", func() error {
				_, err := cache.Apply(ctx, wildkey.OpDelete(a), wildkey.OpPut(backend.Rec(c, "v")), wildkey.OpTouch(d, time.Hour))
				return err
			}, "ZADD keys, UNLINK a, SET c, PEXPIRE d, ZREM keys, ZCARD keys"},
			{"DeleteMatch", func() error { _, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); return err },
				"ZRANGEBYLEX keys, ZCARD keys, UNLINK c, ZREM keys"},
		} {
			b.Engine.ResetTrace()
			backend.Must(t, step.call())
			if got := b.ScriptCalls(); got != step.want {
				t.Errorf("%s calls\n%s, want\n%s", step.name, got, step.want)
			}
		}
	})
}

// TestPagesKeepTheirBounds reads match.lua's own count of entries read.
func TestPagesKeepTheirBounds(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for n := range 100 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a", n), strings.Repeat("v", n))))
		}
		digest := corpus.Load(t, b.Client, "match")
		for _, limit := range []int{1, 5, 33, 100, 1000} {
			for _, reads := range []int{1, 5, 33, 100, 1000} {
				for _, bytes := range []int{1, 50, 1000, 100_000} {
					reply, err := b.Client.EvalSha(ctx, digest, []string{"{test}/keys"},
						"values", "", limit, reads, bytes, "=a", "*").Slice()
					backend.Must(t, err)
					results, size := reply[3].([]any), 0
					for _, text := range results {
						size += len(text.(string))
					}
					if len(results)/2 > limit || reply[1].(int64) > int64(reads) || size > bytes && len(results) > 2 {
						t.Errorf("limit %d, reads %d, bytes %d: %d results of %d bytes, %d read", limit, reads, bytes, len(results)/2, size, reply[1])
					}
					if len(results) == 0 {
						t.Errorf("limit %d, reads %d, bytes %d: no progress", limit, reads, bytes)
					}
				}
			}
		}
	})
}

// TestValuesInGroups: a page looks values up in groups that grow from one to 16, while
// the largest value so far would fit so often into what is left of the page.
func TestValuesInGroups(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache, sizes := b.Cache(t, wildkey.Options{}), map[string]int{}
		for n := range 100 {
			key, value := wildkey.K("a", 100+n), strings.Repeat("v", 10+n%50/49*300)
			backend.Must(t, cache.Put(ctx, backend.Rec(key, value)))
			sizes["{test}:"+key.String()] = len(key.String()) + len(value)
		}
		digest, most := corpus.Load(t, b.Client, "match"), 0
		for _, bytes := range []int{1, 100, 400, 1000, 2000, 100_000} {
			b.Engine.ResetTrace()
			backend.Must(t, b.Client.EvalSha(ctx, digest, []string{"{test}/keys"}, "values", "", 100, 1000, bytes, "=a", "*").Err())
			used, largest, seen := 0, 0, 0
			for _, call := range b.Engine.Trace() {
				if call.Script == "" || call.Args[0] != "MGET" {
					continue
				}
				group := len(call.Args) - 1
				if group > 16 || group > max(1, 2*seen) || group > 1 && used+group*largest > bytes {
					t.Errorf("%d bytes: a group of %d after %d values, with %d bytes used and the largest of %d", bytes, group, seen, used, largest)
				}
				most, seen = max(most, group), seen+group
				for _, name := range call.Args[1:] {
					used, largest = used+sizes[name], max(largest, sizes[name])
				}
			}
		}
		if most != 16 {
			t.Errorf("the largest group has %d", most)
		}
	})
}

// TestSHA1SUMS holds the file that operators pin scripts by against the scripts.
func TestSHA1SUMS(t *testing.T) {
	content, err := os.ReadFile("scripts/SHA1SUMS")
	backend.Must(t, err)
	var want string
	for _, script := range wildkey.Scripts() {
		source, err := os.ReadFile("scripts/" + script.Name + ".lua")
		backend.Must(t, err)
		digest := sha1.Sum(source)
		want += hex.EncodeToString(digest[:]) + "  " + script.Name + ".lua\n"
		if script.SHA1 != hex.EncodeToString(digest[:]) || script.Source != string(source) {
			t.Errorf("Scripts() does not have %s.lua as it is in scripts/", script.Name)
		}
	}
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Errorf("run: make sums (-want +got)\n%s", diff)
	}
}

// TestMalformedArguments expects BADARG of each malformed call, and not one write.
func TestMalformedArguments(t *testing.T) {
	for name, calls := range corpus.MalformedCalls() {
		t.Run(name, func(t *testing.T) {
			backend.Each(t, func(t *testing.T, b *backend.Backend) {
				digest := corpus.Load(t, b.Client, name)
				if err := b.Client.EvalSha(ctx, digest, calls[0].Keys, calls[0].Args...).Err(); err != nil {
					t.Fatalf("the well-formed call: %v", err)
				}
				before := dumpExact(t, b)
				for _, call := range calls[1:] {
					err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Err()
					if !redis.HasErrorPrefix(err, "BADARG "+name+": ") {
						t.Errorf("%.200q %.200q: %v, want BADARG", call.Keys, call.Args, err)
					}
					if diff := cmp.Diff(before, dumpExact(t, b)); diff != "" {
						t.Fatalf("%.200q %.200q: the keyspace changed\n%s", call.Keys, call.Args, diff)
					}
				}
			})
		})
	}
}

// dumpExact is the keyspace with absolute times, to be compared with itself.
func dumpExact(t *testing.T, b *backend.Backend) string {
	t.Helper()
	if b.Engine != nil {
		return b.Engine.Dump()
	}
	return corpus.Dump(t, b.Client, 0)
}

// looked returns how many index entries put.lua has looked at since the trace was
// reset, as its COST line counts them.
func looked(b *backend.Backend) (entries int) {
	for _, call := range b.Engine.Trace() {
		if call.Script != "" && call.Args[0] == "ZRANGEBYLEX" {
			for _, member := range call.Reply.([]any) {
				entries += 1 + len(member.(string))/256
			}
		}
	}
	return entries
}

// TestCollectingIsBounded, however much of the index is stale and however long its
// entries and however many records a put has.
func TestCollectingIsBounded(t *testing.T) {
	for _, length := range []int{5, 300, 4_000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				patient := b.NewClient(t, func(options *redis.Options) { options.ReadTimeout = time.Minute })
				cache := backend.Cache(t, patient, wildkey.Options{CallRecords: 2_500})
				backend.Must(t, cache.Load(ctx))
				add := []any{"ZADD", "{test}/keys"}
				for n := range 2_000 {
					add = append(add, 0, fmt.Sprintf("%04d:%s", n, strings.Repeat("x", length)))
				}
				b.Do(t, add...)
				for _, size := range append(slices.Repeat([]int{1}, 64), 10, 250, 2_500) {
					var records []wildkey.Record
					for n := range size {
						records = append(records, backend.Rec(wildkey.K(size, n, b.Client.DBSize(ctx).Val()), "v"))
					}
					b.Engine.ResetTrace()
					backend.Must(t, cache.Put(ctx, records...))
					if n := looked(b); n > 1024 || n == 0 && size > 32 {
						t.Errorf("a put of %d looks at %d entries", size, n)
					}
				}
			})
		})
	}
}

// TestCollectingNeedsGrowth: calls that add nothing to the index collect nothing.
func TestCollectingNeedsGrowth(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		var records []wildkey.Record
		var keys []wildkey.Key
		for n := range 200 {
			keys = append(keys, wildkey.K("k", n))
			records = append(records, backend.Rec(keys[n], "v"))
			b.Do(t, "ZADD", "{test}/keys", 0, fmt.Sprintf("k:%d:stale", n))
		}
		put := func() error { return cache.Put(ctx, records...) }
		for _, step := range []struct {
			name     string
			call     func() error
			collects bool
		}{
			{"Put of new records", put, true},
			{"Put of old ones", put, false},
			{"Touch", func() error { _, err := cache.Touch(ctx, time.Hour, keys...); return err }, false},
			{"Apply of checks", func() error {
				_, err := cache.Apply(ctx, wildkey.OpCheck(keys[0]).If(wildkey.Present()), wildkey.OpCheck(keys[1]).If(wildkey.Present()))
				return err
			}, false},
			{"DeleteEach", func() error { _, err := cache.DeleteEach(ctx, backend.Source(keys[1:]...), nil); return err }, false},
			{"Put of new records again", put, true},
		} {
			b.Engine.ResetTrace()
			backend.Must(t, step.call())
			if n := looked(b); n > 0 != step.collects {
				t.Errorf("%s looks at %d entries", step.name, n)
			}
		}
	})
}

// TestCollectingKeepsUp: new records that come one by one displace the entries of
// old ones that have gone, wherever those lie.
func TestCollectingKeepsUp(t *testing.T) {
	const gone, added = 4_000, 1_000
	for name, key := range map[string]func(n int) wildkey.Key{
		"ascending": func(n int) wildkey.Key { return wildkey.K("k", 10_000+n) },
		"spread":    func(n int) wildkey.Key { return wildkey.K("k", 10_000+n*7_919%(gone+added)) },
	} {
		t.Run(name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{})
				for n := range gone {
					b.Do(t, "ZADD", "{test}/keys", 0, key(n).String())
				}
				for n := range added {
					backend.Must(t, cache.Put(ctx, backend.Rec(key(gone+n), "v")))
				}
				report, err := invariant.Check(ctx, b.Client)
				backend.Must(t, err)
				if stale := report.Stale(); report.Records != added || 4*stale > report.Entries {
					t.Errorf("%d of %d entries are stale", stale, report.Entries)
				}
			})
		})
	}
}

// TestCollectingFailsNoPut of a user whose keys are restricted and who meets the
// expired records of others, or on a server that refuses keys that are not declared.
func TestCollectingFailsNoPut(t *testing.T) {
	puts := func(t *testing.T, b *backend.Backend, client *redis.Client) {
		t.Helper()
		cache := backend.Cache(t, client, wildkey.Options{Namespace: "app"})
		for n := range 1_000 {
			if err := cache.Put(ctx, backend.Rec(wildkey.K("user", n), "v")); err != nil {
				t.Fatalf("put %d: %v", n, err)
			}
		}
	}
	expire := func(t *testing.T, b *backend.Backend) {
		t.Helper()
		others := b.Cache(t, wildkey.Options{Namespace: "app"})
		for n := range 1_000 {
			backend.Must(t, others.Put(ctx, backend.Rec(wildkey.K("other", n), "v")))
		}
		_, err := others.TouchMatch(ctx, time.Millisecond, wildkey.MustParsePattern("other:*"))
		backend.Must(t, err)
		b.Pass(10 * time.Millisecond)
	}
	count := func(t *testing.T, b *backend.Backend) {
		t.Helper()
		cache := b.Cache(t, wildkey.Options{Namespace: "app"})
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("user:*")); n != 1_000 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
	}
	t.Run("restricted", func(t *testing.T) {
		backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
			expire(t, b)
			b.Do(t, "ACL", "SETUSER", "app", "on", ">secret", "~{app}/keys", "~{app}:user:*", "+@all")
			puts(t, b, b.NewClient(t, func(options *redis.Options) { options.Username, options.Password = "app", "secret" }))
			count(t, b)
			if log := b.Do(t, "ACL", "LOG").([]any); len(log) == 0 {
				t.Error("the user was refused nothing: put.lua has looked at no record of others")
			}
		})
	})
	t.Run("declared", func(t *testing.T) {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
			expire(t, b)
			b.Engine.SetDeclaredKeysOnly(true)
			b.Engine.ResetTrace()
			puts(t, b, b.Client)
			refused := 0
			for _, call := range b.Engine.Trace() {
				if _, ok := call.Reply.(luatest.Error); ok && call.Args[0] == "EXISTS" {
					refused++
				}
			}
			b.Engine.SetDeclaredKeysOnly(false)
			count(t, b)
			if refused == 0 {
				t.Error("put.lua has looked at no record that was not declared")
			}
		})
	})
}
