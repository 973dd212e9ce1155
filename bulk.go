package wildkey

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
)

// PutEach writes any number of records, in as few calls of put.lua as their
// shards, Options.MaxRecords and PageBytes allow, to up to 16 shards at a time.
// It returns how many it has written, and the first error.
//
// What becomes of each record is what a Put of its own, in its turn, would do:
// one whose condition fails, whose TTL is invalid or whose call the server
// refuses keeps no other from being written. The function outcome, if there is
// one, is called for each record in the order of records, with nil, ErrCondition
// or why else it was not written; one call may have carried up to MaxRecords
// records, which then share its error. It may end ctx, and nothing more is sent.
//
// Of records so many are held at a time as fill a call to each of 16 shards, by
// their number or their bytes.
func (c *Cache) PutEach(
	ctx context.Context, records iter.Seq[Record], outcome func(Record, error),
) (written int, err error) {
	var batch []Record
	bytes, calls := 0, min(len(c.shards), maxParallel)
	flush := func() {
		for i, result := range c.putBatch(ctx, batch) {
			if err = cmp.Or(err, result); result == nil {
				written++
			}
			if outcome != nil {
				outcome(batch[i], result)
			}
		}
		clear(batch) // of values that nobody needs any more
		batch, bytes = batch[:0], 0
	}
	for record := range records {
		batch, bytes = append(batch, record), bytes+record.bytes()
		if len(batch) == c.options.MaxRecords*calls || bytes >= c.options.PageBytes*calls {
			if flush(); ctx.Err() != nil {
				return written, cmp.Or(err, ctx.Err())
			}
		}
	}
	flush()
	return written, err
}

// bytes are those of the key, before it is encoded, the value, and the condition.
func (r Record) bytes() int {
	n := len(r.Value) + len(r.If.argument)
	for _, segment := range r.Key {
		n += 1 + len(segment)
	}
	return n
}

// putBatch returns what became of each of the records.
func (c *Cache) putBatch(ctx context.Context, records []Record) []error {
	results, keys := make([]error, len(records)), make([]Key, len(records))
	for i, record := range records {
		_, _, results[i] = c.putArguments(records[i : i+1])
		keys[i] = record.Key
	}
	parts := c.split(keys)
	_ = inParallel(ctx, len(parts), func(ctx context.Context, i int) error {
		c.putPart(ctx, records, parts[i].places, results)
		return nil // the records fail each for itself
	})
	return results
}

// putPart writes those of the records that have these places, all of one shard.
// A failed condition costs a call or two: the records before it go again, and
// the next call is for half as many; calls that succeed double.
func (c *Cache) putPart(ctx context.Context, records []Record, places []int, results []error) {
	places = slices.DeleteFunc(places, func(place int) bool { return results[place] != nil })
	for size := c.options.MaxRecords; len(places) > 0; {
		var call []Record
		met, bytes := map[string]bool{}, 0
		for _, place := range places[:min(size, len(places))] {
			record := records[place]
			if bytes += record.bytes(); bytes > c.options.PageBytes && len(call) > 0 {
				break
			}
			// A condition does not see what the same call writes.
			name := record.Key.String()
			if met[name] && record.If != (Condition{}) {
				break
			}
			met[name] = true
			call = append(call, record)
		}
		n, err := c.put(ctx, call)
		switch {
		case n < -1: // the first of these would be written, the last not
			size = -n - 1
			continue
		case n == -1:
			n, err = 1, fmt.Errorf("%w (%s)", ErrCondition, records[places[0]].Key)
			size = max(size/2, 1)
		default:
			n, size = len(call), min(2*size, c.options.MaxRecords)
		}
		for _, place := range places[:n] {
			results[place] = err
		}
		places = places[n:]
	}
}
