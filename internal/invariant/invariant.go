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
	Leases   int // live ones, each beside the record that may come
	Entries  int // of the indexes
	Breaches []string
}

// Stale is how many index entries have neither a record nor a lease. It is a number
// only where there is no breach.
func (r Report) Stale() int { return r.Entries - r.Records - r.Leases }

// batch is how many records are asked after at a time.
const batch = 1000

// Check reports every live record and lease that is not in the index of its shard, every
// lease that is of no key, and every index with another score than 0. Nothing may be
// written meanwhile; records may expire.
func Check(ctx context.Context, client *redis.Client) (report Report, err error) {
	seen := map[string]bool{} // SCAN may give a key twice
	scan := func(pattern string, judge func(context.Context, *redis.Client, []string) error) error {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			var names []string
			if names, cursor, err = client.Scan(ctx, cursor, pattern, batch).Result(); err != nil {
				return err
			}
			names = slices.DeleteFunc(names, func(name string) bool { return seen[name] })
			for _, name := range names {
				seen[name] = true
			}
			if err := judge(ctx, client, names); err != nil {
				return err
			}
		}
		return nil
	}
	if err := scan("{*}:*", report.judgeRecords); err != nil {
		return report, err
	}
	if err := scan("{*}/keys", report.judgeIndexes); err != nil {
		return report, err
	}
	slices.Sort(report.Breaches)
	return report, nil
}

// CheckCluster is Check of all masters of a cluster.
func CheckCluster(ctx context.Context, cluster *redis.ClusterClient) (sum Report, err error) {
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, client *redis.Client) error {
		report, err := Check(ctx, client)
		mu.Lock()
		defer mu.Unlock()
		sum.Records += report.Records
		sum.Leases += report.Leases
		sum.Entries += report.Entries
		sum.Breaches = append(sum.Breaches, report.Breaches...)
		return err
	})
	return sum, err
}

func (r *Report) judgeRecords(ctx context.Context, client *redis.Client, names []string) error {
	kinds, indexKinds := make([]*redis.StatusCmd, len(names)), make([]*redis.StatusCmd, len(names))
	scores := make([]*redis.FloatCmd, len(names))
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			tag, member, _ := strings.Cut(name, "}:")
			kinds[i], indexKinds[i] = pipe.Type(ctx, name), pipe.Type(ctx, tag+"}/keys")
			scores[i] = pipe.ZScore(ctx, tag+"}/keys", member)
		}
		return nil
	})
	var refused redis.Error // of one command: its own reply tells
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for i, name := range names {
		kind, err := kinds[i].Result()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if kind != "string" {
			continue // it has expired since SCAN, or is no record
		}
		_, member, _ := strings.Cut(name, "}:")
		if key, isLease := strings.CutPrefix(member, "!"); !isLease {
			r.Records++
		} else if r.Leases++; isOfNoKey(key) {
			r.Breaches = append(r.Breaches, fmt.Sprintf("%s is a lease of no key", name))
		}
		// A string in the place of an index is what a test has put there.
		if err := scores[i].Err(); err != nil && indexKinds[i].Val() != "string" {
			r.Breaches = append(r.Breaches, fmt.Sprintf("%s is not in the index: %v", name, err))
		}
	}
	return nil
}

// isOfNoKey is true of what follows the ! of a lease where a lease of it can be no key's:
// a lease has no lease.
func isOfNoKey(text string) bool { return text == "" || text[0] == '!' }

func (r *Report) judgeIndexes(ctx context.Context, client *redis.Client, names []string) error {
	for _, name := range names {
		entries, err := client.ZCard(ctx, name).Result()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			continue // a test has put it there
		}
		if err != nil {
			return err
		}
		right, err := client.ZCount(ctx, name, "0", "0").Result()
		if err != nil {
			return err
		}
		r.Entries += int(entries)
		if right != entries {
			r.Breaches = append(r.Breaches, fmt.Sprintf("%s has %d scores other than 0", name, entries-right))
		}
	}
	return nil
}
