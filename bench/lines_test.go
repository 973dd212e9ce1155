package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestOtherScripts has a Cache call the scripts of a directory in place of its own.
func TestOtherScripts(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	for _, script := range wildkey.Scripts() {
		source := script.Source
		if script.Name == "put" {
			source = "return redis.error_reply('BADARG put: these are others')"
		}
		if err := os.WriteFile(filepath.Join(dir, script.Name+".lua"), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		client, err := newOtherScripts(s.Client(t), dir)
		if err != nil {
			t.Fatal(err)
		}
		cache, err := newCache(ctx, client, namespace)
		if err != nil {
			t.Fatal(err)
		}
		record := wildkey.Record{Key: wildkey.K("one")}
		if err := cache.Put(ctx, record); err == nil || !strings.Contains(err.Error(), "these are others") {
			t.Errorf("Put: %v", err)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 0 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
	})
	if _, err := newOtherScripts(nil, t.TempDir()); err == nil {
		t.Error("a directory without scripts is no error")
	}
}

// TestFill has contenders fill a small server, and tells those that fail.
func TestFill(t *testing.T) {
	ctx := context.Background()
	for _, test := range []struct{ name, policy, failed string }{
		{nameWildkey, "volatile-lru", ""},
		{nameWildkey, "noeviction", "OOM"},
		{nameSet, "volatile-lru", ""},
		{nameSet, "noeviction", "OOM"},
		{nameTags, "evicts the index", "its index was evicted"},
	} {
		t.Run(test.name+", "+test.policy, func(t *testing.T) {
			redisserver.Each(t, func(t *testing.T, running *redisserver.Server) {
				s := attach(running)
				t.Cleanup(s.stop)
				f, err := newFiller(ctx, test.name, s)
				if err != nil {
					t.Fatal(err)
				}
				policy, calls, put := test.policy, 0, f.put
				if policy == "evicts the index" { // what Redis leaves to chance
					policy = "volatile-lru"
					f.put = func(ctx context.Context, keys []wildkey.Key) error {
						if calls++; calls == 20 {
							if err := s.control.Del(ctx, f.index).Err(); err != nil {
								return err
							}
						}
						return put(ctx, keys)
					}
				}
				if err := s.control.ConfigSet(ctx, "maxmemory-policy", policy).Err(); err != nil {
					t.Fatal(err)
				}
				const puts = 10 * fullPoints * fullCall
				row, err := f.fill(ctx, s, puts)
				if err != nil {
					t.Fatal(err)
				}
				end := row.Samples[0]
				if failed := row.Failed != ""; failed != (test.failed != "") || !strings.Contains(row.Failed, test.failed) {
					t.Errorf("it failed with %q after %d puts, want %q", row.Failed, end.Records, test.failed)
				} else if failed == (end.Records == puts) {
					t.Errorf("it ended after %d puts", end.Records)
				}
				last := row.Points[len(row.Points)-1]
				// Of a call that fails some records may have been put.
				if last.Puts != end.Records || last.Live != end.Live || end.Live == 0 || end.Live > end.Records+fullCall {
					t.Errorf("%d records are live after %d puts, by the points %d after %d",
						end.Live, end.Records, last.Live, last.Puts)
				}
				if test.name == nameWildkey && end.Found != 1 {
					t.Errorf("Wildkey finds %v of the live records", end.Found)
				}
			}, "--maxmemory", "6mb")
		})
	}
}

// TestFetch has the group run on few records, and holds what can be counted of it.
func TestFetch(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		few := scales["quick"]
		few.base, few.puts, few.gets = 200, 20, 20
		b := &bench{program: s.Program, scale: few, rounds: 1}
		t.Cleanup(b.stopServers)
		if err := runFetch(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		const callers = crowdProcesses * crowdCallers
		for _, want := range []struct {
			line, name  string
			of          metric
			least, most float64
		}{
			{"fetch-crowd", nameFetch, loadsDone, 1, 1},
			{"fetch-crowd", nameFetch, commandsEach, 1, 4},
			{"fetch-crowd", nameUnleased, loadsDone, 2, callers},
			{"fetch-crowd", nameOnce, loadsDone, 1, callers},
			{"fetch-crowd", nameSingleflight, loadsDone, 1, callers},
			{"fetch-miss", nameFetch, tripsEach, 3, 3},
			{"fetch-miss", nameUnleased, tripsEach, 2, 2},
			{"fetch-miss", nameOnce, commandsEach, 2, 2},
			{"fetch-miss", nameSingleflight, commandsEach, 2, 2},
			{"fetch-hit", nameFetch, tripsEach, 1, 1},
			{"fetch-hit", nameAhead, tripsEach, 1, 2},
			{"fetch-hit", nameWildkey, tripsEach, 1, 1},
			{"fetch-hit", nameGet, tripsEach, 1, 1},
			{"fetch-put-1", nameFetch, trips, 20, 20},
			{"fetch-put-1-over", nameFetch, trips, 20, 20},
			{"fetch-put-10-over", nameFetch, trips, 2, 2},
			{"fetch-delete-1", nameFetch, trips, 20, 20},
			{"fetch-delete-10", nameFetch, trips, 2, 2},
		} {
			if got, ok := b.value(want.line, want.name, want.of); !ok || got < want.least || got > want.most {
				t.Errorf("%s of %s in %s: %v, not %v to %v", want.of.name, want.name, want.line, got, want.least, want.most)
			}
		}
		for _, result := range b.results {
			if rows := result.Rows; !strings.HasPrefix(rows[0].Name, nameWildkey) || len(rows) < 2 {
				t.Errorf("%s has the rows %v", result.Line, rows)
			}
		}
		for _, figure := range []string{"asked for by many", "a hit of", "put and delete through", "a miss of"} {
			if !strings.Contains(b.figures(), figure) {
				t.Errorf("the figures say nothing of %q", figure)
			}
		}
	})
}
