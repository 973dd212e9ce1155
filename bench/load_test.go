package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

func TestLoadMixIsWhole(t *testing.T) {
	total := 0
	for _, verb := range loadMix {
		total += verb.share
	}
	if total != 1_000 {
		t.Errorf("the shares of the mix are %d of a thousand", total)
	}
}

// TestLoad has a short load pass, and then fail for each thing that it looks for.
func TestLoad(t *testing.T) {
	ctx := context.Background()
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		l := &loadRun{place: place{"a short load", 0, 3}, users: 500, length: 1500 * time.Millisecond}
		t.Cleanup(l.stop)
		if err := l.do(ctx, s.Program); err != nil {
			t.Fatal(err)
		}
		// How much expires on a busy machine before it is put again, and which of the rare verbs are drawn, is no matter
		// of this test.
		if len(l.stale.shares) == 0 {
			t.Error("there is no sample of stale entries")
		}
		l.stale.shares = []float64{staleMost}
		for _, verb := range loadMix {
			if l.all.latencies[verb.name] == nil {
				l.all.latencies[verb.name] = newHistogram()
			}
		}
		if err := l.verdict(); err != nil {
			t.Fatal(err)
		}
		fails := func(why string) {
			t.Helper()
			if err := l.verdict(); err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("the verdict is %v, not %s", err, why)
			}
		}

		l.failed("Get", context.DeadlineExceeded)
		fails("1 calls failed")
		l.errors = nil

		l.stale.shares = []float64{0.1, 2*staleMost - 0.08}
		fails("of 2 samples of index entries 26% were stale")
		l.stale.shares = nil
		fails("of 0 samples")
		l.stale.shares = []float64{0}

		if err := l.client.Del(ctx, l.cache.Layout().Index(1)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.check(ctx); err != nil {
			t.Fatal(err)
		}
		fails("breaches of the invariant")
	})
}

// TestStaleness has samples tell entries whose record is gone from others.
func TestStaleness(t *testing.T) {
	ctx := context.Background()
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		client := s.Client(t)
		cache, err := wildkey.New(client, wildkey.Options{Shards: 2, TTL: wildkey.NoExpiry})
		if err != nil {
			t.Fatal(err)
		}
		stale := &staleness{client: client, layout: cache.Layout()}
		sample := func(want float64) {
			t.Helper()
			if err := stale.sample(ctx); err != nil {
				t.Fatal(err)
			}
			if got := stale.shares[len(stale.shares)-1]; got != want {
				t.Errorf("a share of %v is stale, want %v", got, want)
			}
		}
		records := map[int]wildkey.Key{} // one in each shard
		for i := 0; len(records) < 2; i++ {
			key := wildkey.K(i)
			records[cache.Layout().Shard(key)] = key
		}
		for _, key := range records {
			if err := cache.Put(ctx, wildkey.Record{Key: key}); err != nil {
				t.Fatal(err)
			}
		}
		sample(0)
		for shard, want := range []float64{0.5, 1} {
			name, err := cache.Layout().Record(records[shard])
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Del(ctx, name).Err(); err != nil {
				t.Fatal(err)
			}
			sample(want)
		}
		if mean := stale.mean(); mean != 0.5 {
			t.Errorf("the mean of 0, 0.5 and 1 is %v", mean)
		}
	})
}
