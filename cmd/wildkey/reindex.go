package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey/admin"
)

func (t *tool) reindexCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reindex",
		Short: "Put every record back into the index: the repair of what check finds unlisted",
		Long: `Put every record back into the index: the repair after an index was deleted or,
under an allkeys-* policy, evicted. It goes through the keyspace of each server
with SCAN, and changes no record. Leases of package fetch are put back too, and
not counted.`,
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
