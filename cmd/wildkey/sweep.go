package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

func (t *tool) sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Remove stale index entries, whose record is gone",
		Long: `Remove stale index entries: their record has expired, was evicted, or was
deleted by another program. Puts of new records do this too as the index grows,
so only a namespace that gets few new records needs a sweep. Leases that have
ended leave stale entries too.`,
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			progress := t.progress("sweeping", t.total(ctx, s), inEntries)
			n := 0
			err := s.watch(ctx, "match", func(_ string, n int) { progress.add(n) })
			if err == nil {
				n, err = s.cache.Sweep(ctx)
			}
			progress.end()
			swept := counted(n, "stale entry", "stale entries")
			if err != nil {
				return partly{err, swept + " cleared away"}
			}
			return t.result(map[string]int{"dropped": n}, "cleared away %s", swept)
		}),
	}
}

// total returns how many entries the indexes have, of leases and stale ones too, for a progress
// to go by. It asks only for one that is shown, and the run goes on without.
func (t *tool) total(ctx context.Context, s *session) int64 {
	if !t.hasProgress() {
		return unknown
	}
	total, err := s.entries(ctx)
	if err != nil {
		return unknown
	}
	return total
}

// entries returns how many entries the indexes have.
func (s *session) entries(ctx context.Context) (total int64, err error) {
	counts := make([]*redis.IntCmd, s.layout.Shards())
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for shard := range counts {
			counts[shard] = p.ZCard(ctx, s.layout.Index(shard))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ZCARD of the indexes: %w", err)
	}
	for _, count := range counts {
		total += count.Val()
	}
	return total, nil
}
