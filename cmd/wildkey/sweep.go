package main

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Clear away the index entries whose record has expired, was evicted or deleted by hand",
		Args:  cobra.NoArgs,
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			most, err := s.entries(ctx)
			if err != nil {
				return err
			}
			progress := t.progress("sweeping", most, inEntries)
			s.watch("sweep", progress.add)
			swept, err := s.cache.Sweep(ctx)
			progress.end()
			if err != nil {
				return partly{err, clearedEntries(swept) + " cleared away"}
			}
			return t.result(map[string]int{"purged": swept.Purged, "dropped": swept.Dropped},
				"cleared away %s: %s expired, %s evicted or deleted by hand",
				clearedEntries(swept), number(swept.Purged), number(swept.Dropped))
		}),
	}
}

// entries is how many entries the order indexes have.
func (s *session) entries(ctx context.Context) (total int64, err error) {
	counts := make([]*redis.IntCmd, len(s.shards.tags))
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, tag := range s.shards.tags {
			counts[i] = p.ZCard(ctx, order(tag))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ZCARD of the order index: %w", err)
	}
	for _, count := range counts {
		total += count.Val()
	}
	return total, nil
}

func clearedEntries(swept wildkey.SweepStats) string {
	return counted(swept.Purged+swept.Dropped, "entry", "entries")
}
