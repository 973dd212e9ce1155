package wildkey

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"
)

// PutEach writes any number of records, in as few calls of put.lua as their
// shards, Options.CallRecords and CallBytes allow, to up to 16 shards at a time. It
// returns how many it has written, and the first error. An error of the source ends
// it, after the records before it.
//
// Each record meets what a Put of its own, in its turn, would meet: one whose
// condition fails, whose TTL is invalid or whose call the server refuses keeps no
// other from being written. The function outcome, if it is not nil, is called for
// each record in the order of records, with nil, ErrCondition or the reason why it
// was not written; one call may have carried up to CallRecords records, which then
// share its error. It may end ctx, and nothing more is sent.
//
// PutEach holds as many records at a time as fill a call to each of 16 shards, by
// their number or their bytes.
func (c *Cache) PutEach(
	ctx context.Context, records iter.Seq2[Record, error], outcome func(Record, error),
) (int, error) {
	return c.applyEach(ctx, each(records, OpPut), func(op Op, err error) {
		if outcome != nil {
			outcome(op.record, err)
		}
	})
}

// DeleteEach deletes any number of records, in the way of PutEach, and returns how
// many of them were live.
func (c *Cache) DeleteEach(ctx context.Context, keys iter.Seq2[Key, error], outcome func(Key, error)) (int, error) {
	return c.applyEach(ctx, each(keys, OpDelete), func(op Op, err error) {
		if outcome != nil {
			outcome(op.record.Key, err)
		}
	})
}

// TouchEach gives any number of records a new TTL, in the way of PutEach, and
// returns how many of them were live.
func (c *Cache) TouchEach(
	ctx context.Context, ttl time.Duration, keys iter.Seq2[Key, error], outcome func(Key, error),
) (int, error) {
	touch := func(key Key) Op { return OpTouch(key, ttl) }
	return c.applyEach(ctx, each(keys, touch), func(op Op, err error) {
		if outcome != nil {
			outcome(op.record.Key, err)
		}
	})
}

// each turns what a source gives into operations.
func each[T any](source iter.Seq2[T, error], toOp func(T) Op) iter.Seq2[Op, error] {
	return func(yield func(Op, error) bool) {
		for item, err := range source {
			if err != nil {
				yield(Op{}, err)
				return
			}
			if !yield(toOp(item), nil) {
				return
			}
		}
	}
}

func (c *Cache) applyEach(
	ctx context.Context, ops iter.Seq2[Op, error], outcome func(Op, error),
) (done int, err error) {
	var batch []Op
	bytes, calls := 0, min(c.layout.Shards(), maxParallel)
	flush := func() {
		n, results := c.applyBatch(ctx, batch)
		done += n
		for i, result := range results {
			err = cmp.Or(err, result)
			outcome(batch[i], result)
		}
		clear(batch) // of values that nobody needs any more
		batch, bytes = batch[:0], 0
	}
	for op, failure := range ops {
		if failure != nil {
			flush()
			return done, cmp.Or(err, failure)
		}
		batch, bytes = append(batch, op), bytes+op.Bytes()
		if len(batch) == c.options.CallRecords*calls || bytes >= c.options.CallBytes*calls {
			if flush(); ctx.Err() != nil {
				return done, cmp.Or(err, ctx.Err())
			}
		}
	}
	flush()
	return done, err
}

// applyBatch returns how many records were put, touched or deleted, and the
// outcome of each operation.
func (c *Cache) applyBatch(ctx context.Context, ops []Op) (int, []error) {
	results, keys := make([]error, len(ops)), make([]Key, len(ops))
	for i, op := range ops {
		results[i] = c.Validate(op)
		keys[i] = op.record.Key
	}
	places := c.layout.split(keys)
	done, _ := sum(ctx, slices.Collect(maps.Keys(places)), func(ctx context.Context, shard int) (int, error) {
		return c.applyPart(ctx, ops, places[shard], results), nil // the operations fail each for itself
	})
	return done, results
}

// applyPart does those of the operations that have these places, all of one shard.
// A failed condition costs a call or two: the operations before it go again, and
// the next call is for half as many; calls that succeed double.
func (c *Cache) applyPart(ctx context.Context, ops []Op, places []int, results []error) (done int) {
	places = slices.DeleteFunc(places, func(place int) bool { return results[place] != nil })
	for size := c.options.CallRecords; len(places) > 0; {
		var call []Op
		met, bytes := map[string]bool{}, 0
		for _, place := range places[:min(size, len(places))] {
			op := ops[place]
			if bytes += op.Bytes(); bytes > c.options.CallBytes && len(call) > 0 {
				break
			}
			name := op.record.Key.String()
			if met[name] { // put.lua takes each key once
				break
			}
			met[name] = true
			call = append(call, op)
		}
		n, err := c.Apply(ctx, call...)
		failed, isCondition := err.(*ConditionError)
		switch {
		case isCondition && failed.Index > 0: // those before it would be done, it would not
			size = failed.Index
			continue
		case isCondition:
			call, size = call[:1], max(size/2, 1)
		default:
			done, size = done+n, min(2*size, c.options.CallRecords)
		}
		for _, place := range places[:len(call)] {
			results[place] = err
		}
		places = places[len(call):]
	}
	return done
}
