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
	Shards      int     `json:"shards"`    // that have an order index
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
of each namespace: what is told by a sample is marked with ~. A namespace that
has a key of another type in the place of an index is left out, with a note.`,
		Args: cobra.NoArgs,
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			rows, foreign, err := s.namespaces(ctx)
			if err != nil {
				return err
			}
			for _, err := range foreign {
				fmt.Fprintln(t.errOut, "left out:", visible(err.Error()))
			}
			headings := []string{
				"NAMESPACE", "SHARDS", "RECORDS", "INDEX ENTRIES", "EXPIRING", "STALE", "RECORD MEMORY", "INDEX MEMORY",
			}
			return writeTable(t, rows, headings, func(row namespaceRow) []string {
				about := ""
				if row.Estimated {
					about = "~"
				}
				return []string{
					row.Namespace, number(row.Shards), about + number(row.Records), number(row.Entries), number(row.Expiring),
					about + percent(row.StaleShare), about + size(row.RecordBytes), "~" + size(row.IndexBytes),
				}
			})
		}),
	}
}

// orderIndex is the name of the order index of a namespace, or of one shard of
// it; another program's sorted set may have the like.
var orderIndex = regexp.MustCompile(`^(\{([A-Za-z0-9._~%-]+)(#[0-9]+)?\})/keys$`)

// namespaces returns what can be weighed, and why the others cannot: what is in
// the place of an index of theirs is none.
func (s *session) namespaces(ctx context.Context) (rows []namespaceRow, foreign []error, err error) {
	nodes, err := s.nodes(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	tags := map[string][]string{} // by namespace
	for _, node := range nodes {
		names := node.ScanType(ctx, 0, "{*}/keys", 1_000, "zset").Iterator()
		for names.Next(ctx) {
			parts := orderIndex.FindStringSubmatch(names.Val())
			if parts != nil && !slices.Contains(tags[parts[2]], parts[1]) { // SCAN may meet a key twice
				tags[parts[2]] = append(tags[parts[2]], parts[1])
			}
		}
		if err := names.Err(); err != nil {
			return nil, nil, fmt.Errorf("SCAN on %s: %w", node.address, err)
		}
	}
	for namespace, tags := range tags {
		row := namespaceRow{Namespace: namespace, Shards: len(tags)}
		var err error
		for i := 0; i < len(tags) && err == nil; i++ {
			err = s.weigh(ctx, tags[i], &row)
		}
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			foreign = append(foreign, err)
			continue
		} else if err != nil {
			return nil, nil, err
		}
		row.StaleShare = 1 - float64(row.Records)/float64(max(1, row.Entries))
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b namespaceRow) int {
		return cmp.Or(
			cmp.Compare(b.RecordBytes+b.IndexBytes, a.RecordBytes+a.IndexBytes),
			cmp.Compare(a.Namespace, b.Namespace),
		)
	})
	return rows, foreign, nil
}

// weigh adds a shard to the row of its namespace. The memory of its records is
// an estimate, from a sample of them.
func (s *session) weigh(ctx context.Context, tag string, row *namespaceRow) error {
	sample, err := s.sample(ctx, tag, row.Shards)
	if err != nil {
		return err
	}
	row.Entries += sample.entries
	row.Expiring += sample.expiring
	if taken := int64(len(sample.taken)); taken > 0 {
		row.Estimated = row.Estimated || taken < sample.entries
		row.Records += sample.entries * (taken - int64(sample.stale)) / taken
		row.RecordBytes += int64(float64(sample.bytes) * float64(sample.entries) / float64(taken))
	}
	for _, index := range []string{order(tag), expiry(tag)} {
		bytes, err := s.client.MemoryUsage(ctx, index, 100).Result()
		if err != nil && err != redis.Nil { // without records that expire, there is no expiry index
			return fmt.Errorf("MEMORY USAGE %s: %w", index, err)
		}
		row.IndexBytes += bytes
	}
	return nil
}
