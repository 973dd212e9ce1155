package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// namespaceRow is a namespace and what it weighs.
type namespaceRow struct {
	Namespace     string  `json:"namespace"`
	Shards        int     `json:"shards"`
	ShardSegments int     `json:"shard_segments"`
	Records       int64   `json:"records"` // an estimate where a sample was taken
	Estimated     bool    `json:"estimated"`
	Expiring      int64   `json:"expiring_records"`
	Leases        int64   `json:"leases"`
	Entries       int64   `json:"index_entries"`
	StaleShare    float64 `json:"stale_share"`
	RecordBytes   int64   `json:"record_bytes"`
	IndexBytes    int64   `json:"index_bytes"`
}

func (t *tool) topCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "List all namespaces, by the memory they use",
		Long: `List all namespaces, those that use most memory first, with their shards,
records, leases of package fetch, index entries, and the stale share of these.

top finds the indexes with SCAN, which reads the names of all keys, and looks up
about 1,000 index entries of each namespace: a number with ~ is an estimate from
these. The memory of records includes that of leases. While reshard moves a
namespace, it has a row for each number of shards.`,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			rows, err := s.weighAll(ctx)
			if err != nil {
				return err
			}
			headings := []string{
				"NAMESPACE", "SHARDS", "SEGMENTS", "RECORDS", "EXPIRING", "LEASES", "INDEX ENTRIES", "STALE",
				"RECORD MEMORY", "INDEX MEMORY",
			}
			return writeTable(t, rows, headings, func(row namespaceRow) []string {
				about := ""
				if row.Estimated {
					about = "~"
				}
				memory := func(bytes int64) string { return strings.ReplaceAll(size(bytes), " ", tied) }
				return []string{
					plain(row.Namespace), number(row.Shards), number(row.ShardSegments),
					about + number(row.Records), about + number(row.Expiring), about + number(row.Leases), number(row.Entries),
					about + percent(row.StaleShare), about + memory(row.RecordBytes), "~" + memory(row.IndexBytes),
				}
			})
		}),
	}
}

func (s *session) weighAll(ctx context.Context) ([]namespaceRow, error) {
	namespaces, err := s.locate(ctx)
	if err != nil {
		return nil, err
	}
	var rows []namespaceRow
	for _, namespace := range namespaces {
		row, err := s.weigh(ctx, namespace)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b namespaceRow) int {
		return cmp.Compare(b.RecordBytes+b.IndexBytes, a.RecordBytes+a.IndexBytes)
	})
	return rows, nil
}

func (s *session) weigh(ctx context.Context, namespace located) (namespaceRow, error) {
	row := namespaceRow{
		Namespace: namespace.namespace, Shards: namespace.Shards(), ShardSegments: namespace.ShardSegments(),
	}
	sample, err := s.sample(ctx, namespace.Layout, namespace.indexed)
	if err != nil {
		return row, err
	}
	row.Records, row.Expiring = sample.records(), sample.records()-sample.lasting
	row.Leases, row.Entries = sample.leases, sample.entries
	row.Estimated, row.StaleShare = sample.taken < sample.entries, sample.staleShare()
	row.RecordBytes = sample.bytes
	for _, shard := range namespace.indexed {
		bytes, err := s.client.MemoryUsage(ctx, namespace.Index(shard), 100).Result()
		if err != nil && err != redis.Nil { // it has gone meanwhile
			return row, fmt.Errorf("MEMORY USAGE %s: %w", namespace.Index(shard), err)
		}
		row.IndexBytes += bytes
	}
	return row, nil
}
