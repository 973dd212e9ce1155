package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/wildkey/wildkey"
)

// Move moves every record from one Cache to another, as when the number of shards
// changes, and returns how many left the first. A record that the second has
// already is not overwritten: it is newer. Each record keeps its value and the time
// that it has left, and lives longer by no more than its move takes, two round
// trips. A record that has longer to live than wildkey.MaxTTL would live shorter: it
// stays where it is, and Move returns an error that names one such record.
//
// The two must share no hash tag. Caches that differ in the namespace, in the
// number of shards or in the segments that choose one have none in common.
//
// It works while the records are in use:
//
//   - Readers look in the first Cache and then in the second, and prefer what they
//     find there: a record is copied before it is deleted, so there is no moment
//     without it.
//   - Writers put into the second alone, from before Move starts.
//   - Delete, Touch and Take, and an Apply with conditions, cannot see a record on
//     its way. Delete and touch in the first, then in the second, and once more
//     there when Move has returned; leave the others until then.
//
// Move may be stopped and called again, and by many at once. It finds what the
// index holds: call Reindex first if records may be missing from it. Leases, see package
// fetch, are not moved: a load that is under way stores nothing. They and the stale
// entries of the first Cache go, so that its index is gone at the end.
func Move(ctx context.Context, from, to *wildkey.Cache) (moved int, err error) {
	if tag := from.Layout().Tag(0); tag == to.Layout().Tag(0) {
		return 0, fmt.Errorf("wildkey: Move: both caches have the hash tag %s; "+
			"the namespace, Shards or ShardSegments must differ", tag)
	}
	var batch []wildkey.Record
	var long error // about a record that stays
	bytes := 0
	flush := func() error {
		n, err := moveBatch(ctx, from, to, batch)
		moved, batch, bytes = moved+n, batch[:0], 0
		return err
	}
	options := from.Options()
	for entry, err := range from.Match(ctx, everything, wildkey.WithTTL(), wildkey.FromMaster()) {
		if err != nil {
			return moved, err
		}
		if entry.TTL == wildkey.MaxTTL {
			long = cmp.Or(long, fmt.Errorf("wildkey: Move: %s has more than 292 years to live, which Move cannot give it; "+
				"touch it, or delete it", entry.Key))
			continue
		}
		record := wildkey.Record{Key: entry.Key, Value: entry.Value, TTL: entry.TTL, If: wildkey.Absent()}
		batch, bytes = append(batch, record), bytes+len(entry.Value)
		if len(batch) == options.CallRecords || bytes > options.CallBytes {
			if err := flush(); err != nil {
				return moved, err
			}
		}
	}
	if err := flush(); err != nil {
		return moved, err
	}
	if _, err := from.DeleteMatch(ctx, everything.Leases()); err != nil {
		return moved, err
	}
	_, err = from.Sweep(ctx)
	return moved, cmp.Or(err, long)
}

// moveBatch copies the records, and deletes those that have arrived.
func moveBatch(ctx context.Context, from, to *wildkey.Cache, records []wildkey.Record) (int, error) {
	var arrived []wildkey.Key
	var failure error
	_, _ = to.PutEach(ctx, all(records), func(record wildkey.Record, err error) {
		if err == nil || errors.Is(err, wildkey.ErrCondition) {
			arrived = append(arrived, record.Key)
		} else {
			failure = cmp.Or(failure, err)
		}
	})
	moved, err := from.DeleteEach(ctx, all(arrived), nil)
	return moved, cmp.Or(failure, err, ctx.Err())
}

// all yields the items, in the form of a source that does not fail.
func all[T any](items []T) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}
