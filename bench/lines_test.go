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
