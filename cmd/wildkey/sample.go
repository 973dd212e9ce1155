package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// sampleSize is how many index entries of a namespace are looked up to tell how
// many are stale.
const sampleSize = 1_000

// sample is what some entries of an order index, chosen by the server, tell of all.
type sample struct {
	entries  int64    // in the order index
	expiring int64    // in the expiry index
	taken    []string // those that were looked up; all, if as many as entries
	stale    int      // of those taken, had no record
	bytes    int64    // of memory, of the records of those taken
}

// sample looks at some records of a shard, as many as are its part of a
// sample of so many shards.
func (s *session) sample(ctx context.Context, tag string, shards int) (sample, error) {
	var result sample
	var entries, expiring *redis.IntCmd
	var chosen *redis.StringSliceCmd
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		entries = p.ZCard(ctx, order(tag))
		expiring = p.ZCard(ctx, expiry(tag))
		chosen = p.ZRandMember(ctx, order(tag), (sampleSize+shards-1)/shards)
		return nil
	})
	if err != nil {
		return result, fmt.Errorf("reading the indexes of %s: %w", tag, err)
	}
	result.entries, result.expiring, result.taken = entries.Val(), expiring.Val(), chosen.Val()
	if len(result.taken) == 0 {
		return result, nil
	}
	// MEMORY USAGE finds a record that has expired and is not yet freed, too.
	exists, memory := make([]*redis.IntCmd, len(result.taken)), make([]*redis.IntCmd, len(result.taken))
	s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error is the first one's
		for i, encoded := range result.taken {
			exists[i] = p.Exists(ctx, place{tag, encoded}.name())
			memory[i] = p.MemoryUsage(ctx, place{tag, encoded}.name())
		}
		return nil
	})
	for i, usage := range memory {
		if err := cmp.Or(exists[i].Err(), usage.Err()); err != nil && err != redis.Nil {
			return result, fmt.Errorf("EXISTS and MEMORY USAGE: %w", err)
		}
		if exists[i].Val() == 0 {
			result.stale++
		} else {
			result.bytes += usage.Val()
		}
	}
	return result, nil
}
