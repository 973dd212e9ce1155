package main

import (
	"context"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestLoadMeetsTheTool has a client load a record while a command changes or deletes it. What
// the client has read before that is not stored, not even if the record of the command has
// gone by then.
func TestLoadMeetsTheTool(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client, run := context.Background(), server.Client(t), shell(t, server)
		cache, err := wildkey.New(client, wildkey.Options{Namespace: "app", TTL: time.Hour})
		must(t, err)
		for _, test := range []struct {
			command string
			code    int
			stored  int64
		}{
			{"printf new | wildkey put user:42 --no-expiry", 0, 0},
			{`echo '{"key":"user:42","value":"new","ttl":"never"}' | wildkey import`, 0, 0},
			{"wildkey rm user:42", exitNothing, 0},
			{"wildkey rm 'user:*' --yes", 0, 0},
			{"wildkey rm '**' --yes", 0, 0},
			{"wildkey rm user:43 --yes", 0, 1},
			{"wildkey -n other rm '**' --yes", exitNothing, 1},
			{"wildkey rm 'user:*' --dry-run", 0, 1},
			{"wildkey rm user:42 --dry-run", exitNothing, 1},
			{"wildkey touch '**' --ttl 1h", 0, 1},
			{"wildkey reshard --to-shards 2 --yes", 0, 0},
			{"wildkey reindex && wildkey sweep && wildkey check", 0, 1},
		} {
			must(t, client.FlushAll(ctx).Err())
			must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("user", 43)}))
			fetcher, err := fetch.New(cache, fetch.Options{})
			must(t, err)
			_, err = fetcher.Get(ctx, wildkey.K("user", 42), func(ctx context.Context) (fetch.Loaded, error) {
				output, code := run(test.command)
				if code != test.code {
					t.Errorf("%s: exit code %d, and\n%s", test.command, code, output)
				}
				return fetch.Loaded{Value: []byte("old")}, client.Del(ctx, "{app}:user:42").Err() // as eviction does
			})
			must(t, err)
			stats, there := fetcher.Stats(), client.Exists(ctx, "{app}:user:42").Val()
			if stats.Stored != test.stored || there != test.stored {
				t.Errorf("%s: %+v, and %d records, want %d stored", test.command, stats, there, test.stored)
			}
		}
	})
}

// TestImportVoidsLeases of more records than a call takes, in several shards, and counts records alone.
func TestImportVoidsLeases(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client := context.Background(), server.Client(t)
		for _, shards := range []int{1, 3} {
			must(t, client.FlushAll(ctx).Err())
			s := connect(t, server, writing)
			cache, err := wildkey.New(s.client, wildkey.Options{Namespace: "app", Shards: shards, TTL: time.Hour})
			must(t, err)
			voids, err := fetch.New(cache, fetch.Options{})
			must(t, err)
			s.cache, s.voids, s.layout = cache, voids, cache.Layout()
			run := importer{session: s}
			for i := range importRecords {
				key := wildkey.K("user", i)
				if i%2 == 0 {
					_, err := cache.Apply(ctx, wildkey.OpPut(wildkey.Record{Key: key}).OnLease())
					must(t, err)
				}
				record := incoming{key: key, value: []byte("new"), ttl: ttlNever}
				if i%50 == 0 {
					record.ttl = longestTTL
				}
				run.batch = append(run.batch, record)
			}
			must(t, run.put(ctx))
			leases, err := cache.Count(ctx, wildkey.MustParsePattern("**").Leases())
			must(t, err)
			found, err := cache.Count(ctx, wildkey.MustParsePattern("**"))
			must(t, err)
			if leases != 0 || found != importRecords || run.written != importRecords {
				t.Errorf("of %d shards: %d leases, %d records, %d written", shards, leases, found, run.written)
			}
		}
	})
}
