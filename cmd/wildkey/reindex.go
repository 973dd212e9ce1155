package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey/admin"
)

func (t *tool) reindexCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reindex",
		Short: "Put every record back into the index",
		Long: `Put every record back into the index. This is the repair if check finds unlisted
records, for example after an allkeys-* policy has evicted an index. reindex
reads the names of all keys of each server with SCAN, and changes no record. It
puts back the leases of package fetch too, and does not count them.`,
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			// The index that is to be repaired has the best guess of how many there are.
			progress := t.progress("reindexing", t.total(ctx, s), inRecords)
			n := 0
			err := s.watch(ctx, "ZADD", func(_ string, n int) { progress.add(n) })
			if err == nil {
				n, err = admin.Reindex(ctx, s.client, s.layout)
			}
			progress.end()
			if err != nil {
				return partly{err, records(n) + " reindexed"}
			}
			return t.result(map[string]int{"reindexed": n}, "reindexed %s", records(n))
		}),
	}
}
