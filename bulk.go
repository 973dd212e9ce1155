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

// PutEach writes any number of records, in as few calls of put.lua as their
// shards, Options.CallRecords and CallBytes allow, to up to 16 shards at a time. It
// returns how many it has written, and the first error. An error of the source
// ends it, after the records before it.
//
// Each record meets what a Put of its own, in its turn, would meet: if its
// condition fails, its TTL is invalid or the server refuses its call, the others
// are written all the same. The function outcome, unless it is nil, is called for
// each record, in their order, with nil or the reason why it was not written; up to
// CallRecords records share a call and, unless it was refused for one of them, its
// error. It may end ctx, and no further
// call is made. As many records are held at a time as fill one call to each of 16
// shards.
func (c *Cache) PutEach(
	ctx context.Context, records iter.Seq2[Record, error], outcome func(Record, error),
) (int, error) {
	ctx = withVerb(ctx, "PutEach")
	return applyEach(ctx, c, records, OpPut, outcome)
}

// DeleteEach deletes any number of records, in the way of PutEach, and returns how
// many of them were live.
func (c *Cache) DeleteEach(ctx context.Context, keys iter.Seq2[Key, error], outcome func(Key, error)) (int, error) {
	ctx = withVerb(ctx, "DeleteEach")
	return applyEach(ctx, c, keys, OpDelete, outcome)
}

// TouchEach gives any number of records a new TTL, in the way of PutEach, and
// returns how many of them were live.
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
		clear(ops) // of values that nobody needs any more
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
		return c.applyPlaces(ctx, ops, valid, results), nil // the operations fail each for itself
	})
	return done, results
}

// applyPlaces does those of the operations that have these places, all of one
// shard. A failed condition costs a call or two: the operations before it go again,
// and the next call is for half as many. A refused call is halved until the refused
// operation is alone. Calls that succeed double.
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
		case errors.As(err, &failed) && failed.Index > 0: // those before it would be done, it would not
			size = failed.Index
			continue
		case failed != nil:
			call, size = call[:1], max(size/2, 1)
		case refused(err) && len(call) > 1: // perhaps for one of them
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

// refused reports whether a server has refused a call, and might not refuse another
// that names other records: of those that the user may write, or that a slot which
// moves has here. A full server refuses all of one kind.
func refused(err error) bool {
	return slices.ContainsFunc([]string{"NOPERM", "TRYAGAIN", "WRONGTYPE", "BADARG"}, func(code string) bool {
		return redis.HasErrorPrefix(err, code)
	})
}
