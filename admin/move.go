package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/wildkey/wildkey"
)

// Move moves every record from one Cache to another, for example to change the number of
// shards. It returns how many records left the first Cache. It does not overwrite records
// in the second, which are newer. A record keeps its value and its remaining TTL, plus at
// most the two round trips that its move takes. Move cannot set a TTL above
// wildkey.MaxTTL: it leaves such records in place and returns an error that names one. It
// ends with an error, and loses nothing, if a key of another type is in a record's place.
//
// The two Caches must not share a hash tag. They share none if they differ in Namespace,
// Shards or ShardSegments.
//
// Move works while the records are in use:
//
//   - Readers must look in the first Cache and then in the second, and prefer the record
//     in the second. Move copies a record before it deletes it, so one of them always
//     has it.
//   - Writers must put only into the second Cache, from before Move starts.
//   - Delete, Touch, Take and Apply with conditions cannot see a record while it moves.
//     Delete and touch in the first Cache, then in the second, and once more in the
//     second after Move returns. Wait until then with Take and conditions.
//
// Move may be stopped and called again, and several calls may run at once. It finds only
// indexed records, so call Reindex first if some may be missing from the index. It does
// not move leases (see package fetch), so a load under way stores nothing. Move deletes
// them and the stale entries of the first Cache, so no index is left at the end.
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

// moveBatch copies the records and deletes the ones that arrived.
func moveBatch(ctx context.Context, from, to *wildkey.Cache, records []wildkey.Record) (int, error) {
	var arrived, held []wildkey.Key
	var failure error
	_, _ = to.PutEach(ctx, all(records), func(record wildkey.Record, err error) {
		switch {
		case err == nil:
			arrived = append(arrived, record.Key)
		case errors.Is(err, wildkey.ErrCondition):
			held = append(held, record.Key)
		default:
			failure = cmp.Or(failure, err)
		}
	})
	for _, key := range held {
		if err := checkPlace(ctx, to, key); err != nil {
			failure = cmp.Or(failure, err)
			continue
		}
		arrived = append(arrived, key)
	}
	moved, err := from.DeleteEach(ctx, all(arrived), nil)
	return moved, cmp.Or(failure, err, ctx.Err())
}

// checkPlace returns an error if a place is taken by no record that readers find, such as
// another program's hash: a record that left the first Cache for it would be lost.
func checkPlace(ctx context.Context, to *wildkey.Cache, key wildkey.Key) error {
	var terms []wildkey.Term
	for _, segment := range key {
		terms = append(terms, wildkey.Lit(segment))
	}
	only, err := wildkey.NewPattern(terms...)
	if err != nil {
		return err
	}
	for _, err := range to.Match(ctx, only, wildkey.FromMaster()) {
		return err
	}
	_, err = to.Apply(ctx, wildkey.OpCheck(key).If(wildkey.Absent()))
	if !errors.Is(err, wildkey.ErrCondition) {
		return err // nil: the newer record has expired or was deleted
	}
	name, _ := to.Layout().Record(key)
	return fmt.Errorf("wildkey: Move: %s is no record, or is not in the index: delete or rename it, or call Reindex", name)
}

// all yields the items as a source that never fails.
func all[T any](items []T) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}
