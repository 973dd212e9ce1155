// Package invariant holds the raw keyspace of a server against Wildkey's data
// model, for tests and benchmarks. It knows the model and not the library, so
// that a mistake of the library is none of its own.
package invariant

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Report is what a server holds, of all namespaces.
type Report struct {
	Records  int // live ones
	Entries  int // of the order indexes
	Breaches []string
}

// Stale is how many entries of the order indexes have no record. It is a
// number only where there is no breach.
func (r Report) Stale() int { return r.Entries - r.Records }

// batch is how many records are asked after at a time.
const batch = 1000

// Check reports every live record that is not in the order index, and every one
// whose entry in the expiry index is not the millisecond at which Redis expires
// it. Nothing may be written meanwhile; records may expire.
func Check(ctx context.Context, client *redis.Client) (report Report, err error) {
	// Before Redis 7.0 the time left and the clock tell an expiry to a few milliseconds.
	exact := !redis.HasErrorPrefix(client.Do(ctx, "PEXPIRETIME", "{none}").Err(), "unknown command")
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
		if err = report.judge(ctx, client, names, exact); err != nil {
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
	kind, orderKind, expiryKind *redis.StatusCmd
	order, expiry               *redis.FloatCmd
	expires, left               *redis.Cmd
	now                         *redis.TimeCmd
}

func (r *Report) judge(ctx context.Context, client *redis.Client, names []string, exact bool) error {
	all := make([]facts, len(names))
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			tag, member, _ := strings.Cut(name, "}:")
			all[i] = facts{
				kind: pipe.Type(ctx, name), orderKind: pipe.Type(ctx, tag+"}/keys"), expiryKind: pipe.Type(ctx, tag+"}/expiry"),
				order: pipe.ZScore(ctx, tag+"}/keys", member), expiry: pipe.ZScore(ctx, tag+"}/expiry", member),
			}
			if exact {
				all[i].expires = pipe.Do(ctx, "PEXPIRETIME", name)
			} else {
				all[i].left, all[i].now = pipe.Do(ctx, "PTTL", name), pipe.Time(ctx)
			}
		}
		return nil
	})
	var refused redis.Error // of one command: its own facts tell
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for i, name := range names {
		if err := r.judgeOne(name, all[i]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (r *Report) judgeOne(name string, f facts) error {
	expires, slack, err := f.expiresAt()
	if err != nil {
		return err
	}
	if expires == -2 || f.kind.Val() != "string" {
		return nil // expired since SCAN; or no record
	}
	r.Records++
	// A string in the place of an index is what a test has put there.
	if f.orderKind.Val() == "string" || f.expiryKind.Val() == "string" {
		return nil
	}
	found := func(format string, args ...any) {
		r.Breaches = append(r.Breaches, name+fmt.Sprintf(format, args...))
	}
	if err := f.order.Err(); err != nil {
		found(" is not in the order index: %v", err)
	}
	score, err := f.expiry.Result()
	switch {
	case expires == -1 && err == nil:
		found(" never expires and is in the expiry index, with %.0f", score)
	case expires != -1 && err != nil:
		found(" is not in the expiry index: %v", err)
	case expires != -1 && math.Abs(score-float64(expires)) > slack:
		found(" expires at %d, and its score is %.0f", expires, score)
	}
	return nil
}

// expiresAt returns the millisecond at which a record expires, as PEXPIRETIME
// has it: -1 for never, -2 for no such key.
func (f facts) expiresAt() (ms int64, slack float64, err error) {
	if f.expires != nil {
		ms, err = f.expires.Int64()
		return ms, 0, err
	}
	if ms, err = f.left.Int64(); err != nil || ms < 0 {
		return ms, 0, err
	}
	now, err := f.now.Result()
	return now.UnixMilli() + ms, 5, err
}
