package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) sweepCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sweep",
		Short: "Clear away the index entries whose record has expired, was evicted or deleted by hand",
		Args:  cobra.NoArgs,
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			most, err := s.client.ZCard(ctx, s.order()).Result()
			if err != nil {
				return fmt.Errorf("ZCARD %s: %w", s.order(), err)
			}
			progress := t.progress("sweeping", most, inEntries)
			s.watch("sweep", progress.add)
			swept, err := s.cache.Sweep(ctx)
			progress.end()
			if err != nil {
				return partly{err, entries(swept) + " cleared away"}
			}
			return t.result(map[string]int{"purged": swept.Purged, "dropped": swept.Dropped},
				"cleared away %s: %s expired, %s evicted or deleted by hand",
				entries(swept), number(swept.Purged), number(swept.Dropped))
		}),
	}
}

func entries(swept wildkey.SweepStats) string {
	return counted(swept.Purged+swept.Dropped, "entry", "entries")
}
