package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
)

// namespaceRow is a namespace and what it weighs.
type namespaceRow struct {
	Namespace   string  `json:"namespace"` // encoded
	Records     int64   `json:"records"`   // an estimate where a sample was taken
	Estimated   bool    `json:"estimated"`
	Entries     int64   `json:"index_entries"`
	Expiring    int64   `json:"expiring_entries"`
	StaleShare  float64 `json:"stale_share"`
	RecordBytes int64   `json:"record_bytes"`
	IndexBytes  int64   `json:"index_bytes"`
}

func (t *tool) topCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "top",
		Short: "List all namespaces by the memory that they take",
		Long: `List all namespaces by the memory that they take, with their records, index
entries and the share of these that is stale. It looks for order indexes with
SCAN, which goes through the whole keyspace, and looks up at most 1,000 records
of each namespace: what is told by a sample is marked with ~.`,
		Args: cobra.NoArgs,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			rows, err := s.namespaces(ctx)
			if err != nil {
				return err
			}
			headings := []string{
				"NAMESPACE", "RECORDS", "INDEX ENTRIES", "EXPIRING", "STALE", "RECORD MEMORY", "INDEX MEMORY",
			}
			return writeTable(t, rows, headings, func(row namespaceRow) []string {
				about := ""
				if row.Estimated {
					about = "~"
				}
				return []string{
					row.Namespace, about + number(row.Records), number(row.Entries), number(row.Expiring),
					about + percent(row.StaleShare), about + size(row.RecordBytes), "~" + size(row.IndexBytes),
				}
			})
		}),
	}
}

// orderIndex is the name of the order index of a namespace, of which another
// program's sorted set may have the like.
var orderIndex = regexp.MustCompile(`^(\{([A-Za-z0-9._~%#-]+)\})/keys$`)

func (s *session) namespaces(ctx context.Context) ([]namespaceRow, error) {
	nodes, err := s.nodes(ctx, true)
	if err != nil {
		return nil, err
	}
	byName := map[string]namespaceRow{} // SCAN may meet a key twice
	for _, node := range nodes {
		names := node.ScanType(ctx, 0, "{*}/keys", 1_000, "zset").Iterator()
		for names.Next(ctx) {
			parts := orderIndex.FindStringSubmatch(names.Val())
			if parts == nil {
				continue
			}
			row, err := s.weigh(ctx, parts[1])
			if err != nil {
				return nil, err
			}
			row.Namespace = parts[2]
			byName[row.Namespace] = row
		}
		if err := names.Err(); err != nil {
			return nil, fmt.Errorf("SCAN on %s: %w", node.address, err)
		}
	}
	rows := make([]namespaceRow, 0, len(byName))
	for _, row := range byName {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b namespaceRow) int {
		return cmp.Or(
			cmp.Compare(b.RecordBytes+b.IndexBytes, a.RecordBytes+a.IndexBytes),
			cmp.Compare(a.Namespace, b.Namespace),
		)
	})
	return rows, nil
}

// weigh estimates the memory of a namespace from a sample of its records.
func (s *session) weigh(ctx context.Context, tag string) (namespaceRow, error) {
	sample, err := s.sample(ctx, tag)
	if err != nil {
		return namespaceRow{}, err
	}
	row := namespaceRow{
		Entries:    sample.entries,
		Expiring:   sample.expiring,
		Estimated:  int64(sample.taken) < sample.entries,
		StaleShare: sample.staleShare(),
	}
	if sample.taken > 0 {
		row.Records = sample.entries * int64(sample.taken-sample.stale) / int64(sample.taken)
		row.RecordBytes = int64(float64(sample.bytes) * float64(sample.entries) / float64(sample.taken))
	}
	for _, index := range []string{tag + "/keys", tag + "/expiry"} {
		bytes, err := s.client.MemoryUsage(ctx, index, 100).Result()
		if err != nil && err != redis.Nil { // without records that expire, there is no expiry index
			return row, fmt.Errorf("MEMORY USAGE %s: %w", index, err)
		}
		row.IndexBytes += bytes
	}
	return row, nil
}
