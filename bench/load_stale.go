package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// staleness watches which share of the index entries has no live record, by
// samples drawn by chance. Put drops such entries as the index grows, so that they
// are no more than staleMost.
type staleness struct {
	client redis.UniversalClient
	layout wildkey.Layout

	shares []float64 // of each sample
}

const (
	staleMost   = 0.25 // on average, as a single sample is off by chance
	staleDrawn  = 2_000
	samplePause = 250 * time.Millisecond
)

// watch samples until the context ends.
func (s *staleness) watch(ctx context.Context) error {
	ticks := time.NewTicker(samplePause)
	defer ticks.Stop()
	for {
		if err := s.sample(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("sampling stale entries: %w", err)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sample draws as many entries from each shard: shards have about the same size.
func (s *staleness) sample(ctx context.Context) error {
	shards := s.layout.Shards()
	drawn := make([]*redis.StringSliceCmd, shards)
	if _, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for shard := range drawn {
			drawn[shard] = pipe.ZRandMember(ctx, s.layout.Index(shard), -max(1, staleDrawn/shards))
		}
		return nil
	}); err != nil {
		return err
	}
	entries, looks := 0, make([]*redis.IntCmd, shards)
	if _, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for shard, drawn := range drawn {
			var names []string
			for _, encoded := range drawn.Val() {
				names = append(names, s.layout.Tag(shard)+":"+encoded)
			}
			if entries += len(names); len(names) > 0 {
				looks[shard] = pipe.Exists(ctx, names...)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	live := 0
	for _, look := range looks {
		if look != nil {
			live += int(look.Val())
		}
	}
	s.shares = append(s.shares, 1-float64(live)/float64(max(1, entries)))
	return nil
}

// mean returns the mean of all samples.
func (s *staleness) mean() float64 {
	sum := 0.0
	for _, share := range s.shares {
		sum += share
	}
	return sum / float64(max(1, len(s.shares)))
}
