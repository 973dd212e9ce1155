package wildkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// MoveTo moves every record to another Cache, as when the number of shards
// changes, and returns how many left this one. A record that is there already
// is not overwritten: it is newer. Each keeps its value and the time that it has
// left, and lives longer by no more than its move takes, two round trips.
//
// The two must share no hash tag, whatever their servers: one shard has another
// tag than several, and from several to several a new namespace is needed.
//
// It works while the records are in use:
//
//   - Readers look here first and then there, and prefer what they find there:
//     a record is copied before it is deleted, so there is no moment without it.
//   - Writers put there alone, from before MoveTo starts.
//   - Delete, Touch and Take, and a Put with a condition, cannot see a record on
//     its way: delete and touch here, then there, and once more there when MoveTo
//     has returned; leave the others until then.
//
// It may be stopped and called again, and by many at once. It finds what the
// index holds: Reindex comes first where that may be incomplete.
func (c *Cache) MoveTo(ctx context.Context, to *Cache) (int, error) {
	for _, s := range c.shards {
		if slices.ContainsFunc(to.shards, func(other shard) bool { return other.prefix == s.prefix }) {
			return 0, fmt.Errorf("wildkey: MoveTo: both caches have the hash tag %s; one needs another namespace", s.tag())
		}
	}
	return sum(ctx, c.shards, func(ctx context.Context, s *shard) (moved int, err error) {
		limit := min(c.options.PageLimit, c.options.MaxRecords)
		for cursor, more := "", true; more; more = cursor != "" {
			page, _, err := c.match(ctx, s, "values", everything, cursor, limit)
			if err != nil {
				return moved, err
			}
			n, err := c.movePage(ctx, s, to, page.Entries)
			if moved, cursor = moved+n, page.Cursor; err != nil {
				return moved, err
			}
		}
		return moved, nil
	})
}

// movePage moves the records of one page that was read in s.
func (c *Cache) movePage(ctx context.Context, s *shard, to *Cache, entries []Entry) (moved int, err error) {
	var lives []*redis.Cmd
	_, err = c.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, entry := range entries {
			lives = append(lives, pipe.Do(ctx, "PTTL", s.prefix+entry.Key.String()))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("wildkey: PTTL: %w", err)
	}
	var records []Record
	for i, entry := range entries {
		record := Record{Key: entry.Key, Value: entry.Value, TTL: NoExpiry, If: Absent}
		left, err := lives[i].Int64()
		switch {
		case err != nil:
			return 0, fmt.Errorf("wildkey: PTTL: %w", err)
		case left == -2: // it is gone
			continue
		case left >= 0: // 0 in its last millisecond
			record.TTL = time.Duration(min(max(left, 1), math.MaxInt64/1_000_000)) * time.Millisecond
		}
		records = append(records, record)
	}
	var arrived []Key
	var failure error
	_, _ = to.PutEach(ctx, slices.Values(records), func(record Record, err error) {
		if err == nil || errors.Is(err, ErrCondition) {
			arrived = append(arrived, record.Key)
		} else {
			failure = cmp.Or(failure, err)
		}
	})
	names, err := s.names(arrived)
	if err == nil && len(arrived) > 0 {
		moved, err = c.delete(ctx, names)
	}
	return moved, cmp.Or(failure, err, ctx.Err())
}
