package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// sampleSize is how many index entries of a namespace are looked up to tell how
// many are stale.
const sampleSize = 1_000

// sample is what some index entries, chosen by the server, tell of all.
type sample struct {
	entries int64 // in the indexes
	taken   int64 // were looked up; all, if as many as entries
	// Of all entries, by what those taken tell:
	live    int64 // have a record, or are a lease that is there
	leases  int64 // are such a lease
	lasting int64 // have a record that never expires
	bytes   int64 // is the memory of the records and leases
}

func (s sample) records() int64 { return s.live - s.leases }

func (s sample) stale() int64 { return s.entries - s.live }

func (s sample) staleShare() float64 { return float64(s.stale()) / float64(max(1, s.entries)) }

// sample looks up some records of these shards, as many of each.
func (s *session) sample(ctx context.Context, layout wildkey.Layout, shards []int) (sum sample, err error) {
	for _, shard := range shards {
		var entries *redis.IntCmd
		var chosen *redis.StringSliceCmd
		_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			entries = p.ZCard(ctx, layout.Index(shard))
			chosen = p.ZRandMember(ctx, layout.Index(shard), (sampleSize+len(shards)-1)/len(shards))
			return nil
		})
		if err != nil {
			return sum, fmt.Errorf("reading the index of %s: %w", layout.Tag(shard), err)
		}
		taken := chosen.Val()
		left, memory := make([]*redis.DurationCmd, len(taken)), make([]*redis.IntCmd, len(taken))
		s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error is the first one's
			for i, encoded := range taken {
				left[i] = p.PTTL(ctx, layout.Prefix(shard)+encoded)
				memory[i] = p.MemoryUsage(ctx, layout.Prefix(shard)+encoded)
			}
			return nil
		})
		var live, leases, lasting, bytes int64
		for i, usage := range memory {
			if err := cmp.Or(left[i].Err(), usage.Err()); err != nil && err != redis.Nil {
				return sum, fmt.Errorf("PTTL and MEMORY USAGE: %w", err)
			}
			if left[i].Val() == -2 { // MEMORY USAGE finds what has expired and is not yet freed
				continue
			}
			live, bytes = live+1, bytes+usage.Val()
			switch {
			case isLease(taken[i]):
				leases++
			case left[i].Val() == -1:
				lasting++
			}
		}
		n := max(1, int64(len(taken)))
		sum.entries, sum.taken = sum.entries+entries.Val(), sum.taken+int64(len(taken))
		sum.live += entries.Val() * live / n
		sum.leases += entries.Val() * leases / n
		sum.lasting += entries.Val() * lasting / n
		sum.bytes += int64(float64(entries.Val()) * float64(bytes) / float64(n))
	}
	return sum, nil
}
