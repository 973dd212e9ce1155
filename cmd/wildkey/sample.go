package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// sampleSize is how many index entries are looked up to tell how many are stale.
const sampleSize = 1_000

// sample is what some entries of the order index, chosen by the server, tell of all.
type sample struct {
	entries  int64 // in the order index
	expiring int64 // in the expiry index
	taken    int   // as many were looked up; all, if as many as entries
	stale    int   // of those taken, had no record
	bytes    int64 // of memory, of the records of those taken
}

// staleShare is the share of index entries that have no record, 0 to 1.
func (s sample) staleShare() float64 {
	return float64(s.stale) / float64(max(1, s.taken))
}

// sample looks at some records of the namespace with this tag.
func (s *session) sample(ctx context.Context, tag string) (sample, error) {
	var result sample
	var entries, expiring *redis.IntCmd
	var chosen *redis.StringSliceCmd
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		entries = p.ZCard(ctx, tag+"/keys")
		expiring = p.ZCard(ctx, tag+"/expiry")
		chosen = p.ZRandMember(ctx, tag+"/keys", sampleSize)
		return nil
	})
	if err != nil {
		return result, fmt.Errorf("reading the indexes of %s: %w", tag, err)
	}
	result.entries, result.expiring, result.taken = entries.Val(), expiring.Val(), len(chosen.Val())
	if result.taken == 0 {
		return result, nil
	}
	// MEMORY USAGE finds a record that has expired and is not yet freed, too.
	exists, memory := make([]*redis.IntCmd, result.taken), make([]*redis.IntCmd, result.taken)
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, encoded := range chosen.Val() {
			exists[i] = p.Exists(ctx, tag+":"+encoded)
			memory[i] = p.MemoryUsage(ctx, tag+":"+encoded)
		}
		return nil
	})
	if err != nil && err != redis.Nil {
		return result, fmt.Errorf("EXISTS and MEMORY USAGE: %w", err)
	}
	for i, usage := range memory {
		if exists[i].Val() == 0 {
			result.stale++
		} else {
			result.bytes += usage.Val()
		}
	}
	return result, nil
}
