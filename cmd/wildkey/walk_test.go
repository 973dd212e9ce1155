package main

import (
	"context"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestMeasureManyBatches measures more records than are asked after at a time.
func TestMeasureManyBatches(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, s := context.Background(), connect(t, server, writing)
		const n = 2*measureBatch + 1
		for i := range n {
			must(t, s.cache.Put(ctx, wildkey.Record{Key: wildkey.K(i), Value: make([]byte, i), TTL: wildkey.NoExpiry}))
		}
		met := 0
		for record, err := range s.items(ctx, wildkey.MustParsePattern("**"), false, listing{}) {
			must(t, err)
			if met++; record.Key.String() != wildkey.K(record.bytes).String() || record.TTL != wildkey.NoExpiry {
				t.Errorf("%s has %d bytes and %v left", record.Key, record.bytes, record.TTL)
			}
		}
		if met != n {
			t.Errorf("met %d records of %d", met, n)
		}
	})
}

// TestWalkTellsWhen: what a record has left, it had when its page was read, and
// not when it came to its turn.
func TestWalkTellsWhen(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "the millisecond of an expiry")
		const page = 10
		for _, shards := range []int{1, 3} {
			ctx, s := context.Background(), connect(t, server, writing)
			cache, err := wildkey.New(s.client, wildkey.Options{
				Namespace: "app", Shards: shards, PageLimit: page, TTL: time.Hour,
			})
			must(t, err)
			s.cache, s.layout = cache, cache.Layout()
			for i := range 100 {
				must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K(i)}))
			}
			met, turn := make([]int, shards), make([]time.Time, shards)
			for record, err := range s.walk(ctx, wildkey.MustParsePattern("**")) {
				must(t, err)
				shard := s.layout.Shard(record.Key)
				if met[shard]%page == 0 {
					turn[shard] = time.Now()
				}
				met[shard]++
				if record.at.After(turn[shard]) {
					t.Errorf("of %d shards: %s has a moment after its page was read", shards, record.Key)
				}
				name, err := s.layout.Record(record.Key)
				must(t, err)
				expires := s.client.PExpireTime(ctx, name).Val().Milliseconds()
				if record.at.Add(record.TTL).UnixMilli() < expires {
					t.Errorf("of %d shards: %s expires before its time", shards, record.Key)
				}
			}
		}
	})
}
