package admin_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

func TestReindexRestoresLostIndexes(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 10})
		for n := range 25 {
			backend.Must(t, cache.Put(ctx,
				wildkey.Record{Key: wildkey.K("expires", n), TTL: time.Hour},
				wildkey.Record{Key: wildkey.K("lasts", n), TTL: wildkey.NoExpiry}))
		}
		other, err := wildkey.New(b.Client, wildkey.Options{Namespace: "tes", TTL: time.Hour})
		backend.Must(t, err)
		backend.Must(t, other.Put(ctx, backend.Rec(wildkey.K("t}:x"), "v")))
		b.Do(t, "SET", "{test}:not an encoded key", "v")
		b.Do(t, "DEL", "{test}/keys", "{test}/expiry")
		if n, err := cache.Reindex(ctx); n != 50 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 50 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if got := b.Members(t, "expiry"); len(got) != 25 {
			t.Errorf("the expiry index holds %d entries, want 25", len(got))
		}
		b.Do(t, "DEL", "{test}:not an encoded key") // which the invariant is not about
	})
}

// TestReindexOfWrappedClient: a client may be any value that has the methods.
func TestReindexOfWrappedClient(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		wrapped := struct {
			*redis.Client
			_ []string // which cannot be compared
		}{Client: b.Client}
		cache, err := wildkey.New(wrapped, wildkey.Options{TTL: time.Hour, Shards: 7})
		backend.Must(t, err)
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		if n, err := cache.Reindex(ctx); n != 1 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
		b.Do(t, "FLUSHALL")
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
			if n, err := cache.Reindex(ctx); n != 502 || err != nil {
				t.Errorf("Reindex of %d shards: %d, %v", shards, n, err)
			}
			for _, call := range b.Engine.Trace() {
				switch {
				case call.Script != "":
				case call.Args[0] == "SCAN" || call.Args[0] == "scan":
					scans++
				case len(call.Keys()) > 2:
					batches = append(batches, len(call.Keys())-2)
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
