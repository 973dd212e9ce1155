package admin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/luatest"
)

// TestReindexRestoresLostIndexes, those of its namespace alone, with the leases in them, and changes no record.
func TestReindexRestoresLostIndexes(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 7} {
			b.Do(t, "FLUSHALL")
			cache := b.Cache(t, wildkey.Options{Shards: shards})
			for n := range 25 {
				backend.Must(t, cache.Put(ctx,
					wildkey.Record{Key: wildkey.K(n, "expires"), TTL: time.Hour},
					wildkey.Record{Key: wildkey.K(n, "lasts"), TTL: wildkey.NoExpiry}))
				_, err := cache.Apply(ctx, wildkey.OpPut(backend.Rec(wildkey.K(n, "loads"), "token")).OnLease())
				backend.Must(t, err)
			}
			backend.Must(t, b.Cache(t, wildkey.Options{Namespace: "tes"}).Put(ctx, backend.Rec(wildkey.K("t}:x"), "v")))
			backend.Must(t, b.Cache(t, wildkey.Options{Shards: 3}).Put(ctx, backend.Rec(wildkey.K("x"), "v")))
			b.Do(t, "HSET", cache.Layout().Prefix(0)+"hash", "f", "v")
			before := corpus.Dump(t, b.Client, 0)

			for shard := range shards {
				b.Do(t, "DEL", cache.Layout().Index(shard))
			}
			b.Do(t, "SET", cache.Layout().Prefix(0)+"not an encoded key", "v")
			b.Do(t, "SET", cache.Layout().Prefix(0)+"!", "v")
			if n, err := admin.Reindex(ctx, b.Client, cache.Layout()); n != 50 || err != nil {
				t.Errorf("Reindex of %d shards: %d, %v", shards, n, err)
			}
			b.Do(t, "DEL", cache.Layout().Prefix(0)+"not an encoded key", cache.Layout().Prefix(0)+"!")
			if diff := cmp.Diff(before, corpus.Dump(t, b.Client, 0)); diff != "" {
				t.Errorf("Reindex of %d shards (-before +after)\n%s", shards, diff)
			}
			if n, err := cache.Count(ctx, everything); n != 50 || err != nil {
				t.Errorf("Count in %d shards: %d, %v", shards, n, err)
			}
		}
	})
}

// TestReindexAddsOnly: what the index has stays, stale or not.
func TestReindexAddsOnly(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("known"), "v"), backend.Rec(wildkey.K("lost"), "v")))
		b.Do(t, "ZADD", "{test}/keys", 0, "stale")
		b.Do(t, "ZREM", "{test}/keys", "lost")
		if n, err := admin.Reindex(ctx, b.Client, cache.Layout()); n != 2 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
		if diff := cmp.Diff([]string{"known", "lost", "stale"}, b.Members(t)); diff != "" {
			t.Errorf("index (-want +got)\n%s", diff)
		}
	})
}

func TestReindexTellsErrors(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := admin.Reindex(canceled, b.Client, cache.Layout()); !errors.Is(err, context.Canceled) {
			t.Errorf("with a canceled context: %v", err)
		}
		b.Do(t, "SET", "{test}/keys", "foreign")
		_, err := admin.Reindex(ctx, b.Client, cache.Layout())
		if !redis.HasErrorPrefix(err, "WRONGTYPE") || !strings.Contains(err.Error(), "{test}/keys") {
			t.Errorf("with a string in the place of the index: %v", err)
		}
	})
}

// TestReindexOfWrappedClient: a client may be any value that has the methods.
func TestReindexOfWrappedClient(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		wrapped := struct {
			*redis.Client
			_ []string // which cannot be compared
		}{Client: b.Client}
		cache := b.Cache(t, wildkey.Options{Shards: 7})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		b.Do(t, "DEL", backend.Tag(cache, wildkey.K("a"))+"/keys")
		if n, err := admin.Reindex(ctx, wrapped, cache.Layout()); n != 1 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
	})
}

// TestReindexRefusesARing, which spreads keys over servers that it does not name.
func TestReindexRefusesARing(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": b.Server.Addr}})
		defer ring.Close()
		cache := backend.Cache(t, ring, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"))) // a key routes it
		before := corpus.Dump(t, b.Client, 0)
		for _, client := range []admin.Client{ring, struct{ *redis.Ring }{ring}} {
			if n, err := admin.Reindex(ctx, client, cache.Layout()); n != 0 || err == nil || !strings.Contains(err.Error(), "Ring") {
				t.Errorf("Reindex of a %T: %d, %v", client, n, err)
			}
		}
		if diff := cmp.Diff(before, corpus.Dump(t, b.Client, 0)); diff != "" {
			t.Errorf("something was written (-before +after)\n%s", diff)
		}
	})
}

// TestReindexOfAServerThatRefuses tells what the server says, and no more.
func TestReindexOfAServerThatRefuses(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		client := b.NewClient(t, func(*redis.Options) {})
		client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
			if cmd.Name() == "exists" {
				cmd.SetErr(luatest.Error("NOPERM refused by the test"))
			}
			return cmd.Err()
		}))
		n, err := admin.Reindex(ctx, client, b.Cache(t, wildkey.Options{}).Layout())
		if want := "wildkey: Reindex: {test}: NOPERM refused by the test"; n != 0 || err == nil || err.Error() != want {
			t.Errorf("%d, %v, want %s", n, err, want)
		}
	})
}

// TestReindexScansOnce: however many shards a server has, it scans its keyspace
// once, and holds no more than so many records at a time.
func TestReindexScansOnce(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		calls := func(shards int) (scans int, batches []int) {
			cache := b.Cache(t, wildkey.Options{Shards: shards})
			backend.Must(t, cache.Load(ctx))
			for n := range 500 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a", n), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("b"), "v"), backend.Rec(wildkey.K("b", "c"), "v")))
			b.Engine.ResetTrace()
			if n, err := admin.Reindex(ctx, b.Client, cache.Layout()); n != 502 || err != nil {
				t.Errorf("Reindex of %d shards: %d, %v", shards, n, err)
			}
			for _, call := range b.Engine.Trace() {
				switch strings.ToLower(call.Args[0]) {
				case "scan":
					scans++
				case "exists": // is the shard on this server
				case "zadd":
					batches = append(batches, len(call.Args)/2-1)
				default:
					t.Errorf("Reindex calls %q", call.Args)
				}
			}
			backend.Must(t, b.Client.FlushAll(ctx).Err())
			return scans, batches
		}
		scans, batches := calls(1)
		if diff := cmp.Diff([]int{250, 250, 2}, batches); diff != "" {
			t.Errorf("of 1 shard (-want +got)\n%s", diff)
		}
		if got, batches := calls(48); got > scans+1 {
			t.Errorf("of 48 shards it makes %d calls of SCAN, of 1 shard %d", got, scans)
		} else if diff := cmp.Diff([]int{250, 250, 2}, batches); diff != "" {
			t.Errorf("of 48 shards (-want +got)\n%s", diff)
		}
		if _, batches := calls(1000); len(batches) != 6 || slices.Max(batches) != 100 {
			t.Errorf("of 1,000 shards, which may hold 100,000 records, the batches are %d", batches)
		}
	})
}
