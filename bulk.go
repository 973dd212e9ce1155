package wildkey

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// PutEach writes any number of records to up to 16 shards at a time. It makes as few
// calls of put.lua as Options.CallRecords and CallBytes allow. It returns the number of
// records written and the first error. If the source yields an error, PutEach writes the
// records before it and stops.
//
// Each record succeeds or fails like a Put of its own: if its condition fails, its TTL
// is invalid or the server refuses it, PutEach still writes the others. PutEach calls
// outcome, unless it is nil, for each record in order, with nil or the reason why the
// record was not written. Up to CallRecords records share a call. If that call fails for
// a reason that concerns no single record, such as a broken connection, they share its
// error. To stop early, cancel ctx in outcome. PutEach holds at most the records of one
// call to each of 16 shards in memory.
func (c *Cache) PutEach(
	ctx context.Context, records iter.Seq2[Record, error], outcome func(Record, error),
) (int, error) {
	ctx = withVerb(ctx, "PutEach")
	return applyEach(ctx, c, records, OpPut, outcome)
}

// DeleteEach deletes any number of records and returns how many of them were live. It
// works like PutEach.
func (c *Cache) DeleteEach(ctx context.Context, keys iter.Seq2[Key, error], outcome func(Key, error)) (int, error) {
	ctx = withVerb(ctx, "DeleteEach")
	return applyEach(ctx, c, keys, OpDelete, outcome)
}

// TouchEach gives any number of records a new TTL and returns how many of them were live.
// It works like PutEach.
func (c *Cache) TouchEach(
	ctx context.Context, ttl time.Duration, keys iter.Seq2[Key, error], outcome func(Key, error),
) (int, error) {
	ctx = withVerb(ctx, "TouchEach")
	return applyEach(ctx, c, keys, func(key Key) Op { return OpTouch(key, ttl) }, outcome)
}

func applyEach[T any](
	ctx context.Context, c *Cache, source iter.Seq2[T, error], toOp func(T) Op, outcome func(T, error),
) (done int, err error) {
	var items []T
	var ops []Op
	bytes, calls := 0, min(c.layout.Shards(), maxParallel)
	flush := func() {
		n, results := c.applyBatch(ctx, ops)
		done += n
		for i, result := range results {
			err = cmp.Or(err, result)
			if outcome != nil {
				outcome(items[i], result)
			}
		}
		clear(ops) // releases the values
		items, ops, bytes = items[:0], ops[:0], 0
	}
	for item, failure := range source {
		if failure != nil {
			flush()
			return done, cmp.Or(err, failure)
		}
		op := toOp(item)
		items, ops, bytes = append(items, item), append(ops, op), bytes+op.Bytes()
		if len(ops) == c.options.CallRecords*calls || bytes >= c.options.CallBytes*calls {
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
		results[i], keys[i] = c.Validate(op), op.record.Key
	}
	places := c.layout.split(keys)
	done, _ := sum(ctx, slices.Collect(maps.Keys(places)), func(ctx context.Context, shard int) (int, error) {
		valid := slices.DeleteFunc(places[shard], func(place int) bool { return results[place] != nil })
		return c.applyPlaces(ctx, ops, valid, results), nil // each operation has its own error
	})
	return done, results
}

// applyPlaces does the operations at these places, all of one shard. A failed condition
// costs a call or two: the operations before it go again, and then the call size is
// halved. A refused call is halved until it has only the refused operation. The call size
// doubles after each success.
func (c *Cache) applyPlaces(ctx context.Context, ops []Op, places []int, results []error) (done int) {
	for size := c.options.CallRecords; len(places) > 0; {
		var call []Op
		met, bytes := map[string]bool{}, 0
		for _, place := range places[:min(size, len(places))] {
			op := ops[place]
			name := op.record.Key.String()
			bytes += op.Bytes()
			if met[name] || bytes > c.options.CallBytes && len(call) > 0 { // put.lua takes each key once
				break
			}
			met[name] = true
			call = append(call, op)
		}
		n, err := c.Apply(ctx, call...)
		var failed *ConditionError
		switch {
		case errors.As(err, &failed) && failed.Index > 0: // the operations before it can still be done
			size = failed.Index
			continue
		case failed != nil:
			call, size = call[:1], max(size/2, 1)
		case refused(err) && len(call) > 1: // perhaps because of only one of them
			size = len(call) / 2
			continue
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

// refused reports whether the server refused a call because of the records it names, so
// that it may accept other records: the user may not write some of them, say, or some are
// on the other node of a moving slot. A full server refuses every put alike.
func refused(err error) bool {
	return slices.ContainsFunc([]string{"NOPERM", "TRYAGAIN", "WRONGTYPE", "BADARG"}, func(code string) bool {
		return redis.HasErrorPrefix(err, code)
	})
}
