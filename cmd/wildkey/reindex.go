package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (t *tool) reindexCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reindex",
		Short: "Put every record back into the indexes, with its TTL: the repair of what check finds",
		Long: `Put every record back into the indexes, with its TTL: the repair after an index
was deleted or evicted. It goes through the keyspace of the server with SCAN.`,
		Args: cobra.NoArgs,
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			progress := t.progress("reindexing", unknown, inRecords)
			s.watch("touch", progress.add)
			n, err := s.cache.Reindex(ctx)
			progress.end()
			if err != nil {
				return partly{err, records(n) + " reindexed"}
			}
			return t.result(map[string]int{"reindexed": n}, "reindexed %s", records(n))
		}),
	}
}
