// Package invariant holds the raw keyspace of a server against Wildkey's data
// model, for tests and benchmarks. It knows the model and not the library, so
// that a mistake of the library is none of its own.
package invariant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Report is what a server holds, of all namespaces.
type Report struct {
	Records  int // live ones
	Entries  int // of the indexes
	Breaches []string
}

// Stale is how many index entries have no live record, which is no breach. It is
// a number only where there is no breach.
func (r Report) Stale() int { return r.Entries - r.Records }

// batch is how many records are asked after at a time.
const batch = 1000

// Check reports every live record that is not in the index. Nothing may be
// written meanwhile; records may expire.
func Check(ctx context.Context, client *redis.Client) (report Report, err error) {
	seen := map[string]bool{}
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var names []string
		if names, cursor, err = client.Scan(ctx, cursor, "{*}:*", batch).Result(); err != nil {
			return report, err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return seen[name] })
		for _, name := range names {
			seen[name] = true
		}
		if err = report.judge(ctx, client, names); err != nil {
			return report, err
		}
	}
	indexes := client.Scan(ctx, 0, "{*}/keys", batch).Iterator()
	met := map[string]bool{}
	for indexes.Next(ctx) {
		if name := indexes.Val(); !met[name] {
			met[name] = true
			report.Entries += int(client.ZCard(ctx, name).Val())
		}
	}
	slices.Sort(report.Breaches)
	return report, indexes.Err()
}

// CheckCluster is Check of all masters of a cluster.
func CheckCluster(ctx context.Context, cluster *redis.ClusterClient) (sum Report, err error) {
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, client *redis.Client) error {
		report, err := Check(ctx, client)
		mu.Lock()
		defer mu.Unlock()
		sum.Records += report.Records
		sum.Entries += report.Entries
		sum.Breaches = append(sum.Breaches, report.Breaches...)
		return err
	})
	return sum, err
}

// facts are what the server says of one record.
type facts struct {
	kind, indexKind *redis.StatusCmd
	entry           *redis.FloatCmd
}

func (r *Report) judge(ctx context.Context, client *redis.Client, names []string) error {
	all := make([]facts, len(names))
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			tag, member, _ := strings.Cut(name, "}:")
			index := tag + "}/keys"
			all[i] = facts{pipe.Type(ctx, name), pipe.Type(ctx, index), pipe.ZScore(ctx, index, member)}
		}
		return nil
	})
	var refused redis.Error // of one command: its own facts tell
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for i, name := range names {
		if all[i].kind.Val() != "string" {
			continue // expired since SCAN; or no record
		}
		r.Records++
		// A string in the place of an index is what a test has put there.
		if err := all[i].entry.Err(); err != nil && all[i].indexKind.Val() != "string" {
			r.Breaches = append(r.Breaches, fmt.Sprintf("%s is not in the index: %v", name, err))
		}
	}
	return nil
}
