package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

// outcomesOf gives PutEach the records and lists what it says of each.
func outcomesOf(t *testing.T, cache *wildkey.Cache, records []wildkey.Record) (outcomes []error, written int, first error) {
	t.Helper()
	written, first = cache.PutEach(ctx, slices.Values(records), func(record wildkey.Record, err error) {
		if want := records[len(outcomes)].Key; record.Key.String() != want.String() {
			t.Errorf("outcome %d is that of %s, want %s", len(outcomes), record.Key, want)
		}
		outcomes = append(outcomes, err)
	})
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes of %d records", len(outcomes), len(records))
	}
	return outcomes, written, first
}

// TestPutEachIsPutInTurn draws records with conditions on few keys, and
// expects the outcome of each, and all that is there after, as of single Puts.
func TestPutEachIsPutInTurn(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		seed := uint64(time.Now().UnixNano())
		random := rand.New(rand.NewPCG(seed, 0))
		conditions := []wildkey.Condition{{}, {}, {}, wildkey.Absent(), wildkey.Present(), wildkey.Equal([]byte("1")), wildkey.Equal([]byte("2"))}
		for range 100 {
			b.Do(t, "FLUSHALL")
			options := wildkey.Options{Shards: []int{1, 2, 7}[random.IntN(3)], CallRecords: 1 + random.IntN(12), CallBytes: 1 + random.IntN(40)}
			bulk := b.Cache(t, options)
			options.Namespace = "single"
			single := b.Cache(t, options)
			records := make([]wildkey.Record, random.IntN(60))
			keys, kinds := 1+random.IntN(40), 1+random.IntN(len(conditions))
			for i := range records {
				records[i] = backend.Rec(wildkey.K(random.IntN(keys)), fmt.Sprint(random.IntN(3)))
				records[i].If = conditions[random.IntN(kinds)]
			}
			var want []string
			for _, record := range records {
				err := single.Put(ctx, record)
				want = append(want, fmt.Sprint(err == nil, errors.Is(err, wildkey.ErrCondition)))
			}
			outcomes, written, first := outcomesOf(t, bulk, records)
			var got []string
			succeeded := 0
			for _, err := range outcomes {
				got = append(got, fmt.Sprint(err == nil, errors.Is(err, wildkey.ErrCondition)))
				if err == nil {
					succeeded++
				}
			}
			if written != succeeded || (first == nil) != (succeeded == len(records)) {
				t.Errorf("PutEach: %d, %v, and %d of %d were written", written, first, succeeded, len(records))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("outcomes (-single +bulk)\n%s", diff)
			}
			everything := wildkey.MustParsePattern("**")
			left, err := single.All(ctx, everything)
			backend.Must(t, err)
			found, err := bulk.All(ctx, everything)
			backend.Must(t, err)
			if diff := cmp.Diff(backend.Entries(left), backend.Entries(found)); diff != "" {
				t.Errorf("records (-single +bulk)\n%s", diff)
			}
			if t.Failed() {
				t.Fatalf("with %+v, seed %d: %+v", options, seed, records)
			}
		}
	})
}

// TestPutEachFailsOneByOne: what cannot be written keeps nothing else away.
func TestPutEachFailsOneByOne(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		options := wildkey.Options{Shards: 7, ShardSegments: 1}
		cache := b.Cache(t, options)
		foreign := backend.Tag(wildkey.K("a"), options)
		b.Do(t, "SET", foreign+"/keys", "foreign")
		records := []wildkey.Record{backend.Rec(wildkey.K("a", ""), "v"), backend.Rec(nil, "v"), {Key: wildkey.K("c"), TTL: 1}}
		for n := range 100 {
			records = append(records, backend.Rec(wildkey.K(n), "v"))
		}
		lost := 0
		outcomes, written, first := outcomesOf(t, cache, records)
		if !errors.Is(first, wildkey.ErrInvalidKey) || !errors.Is(outcomes[0], wildkey.ErrInvalidKey) ||
			!errors.Is(outcomes[1], wildkey.ErrInvalidKey) || !errors.Is(outcomes[2], wildkey.ErrInvalidTTL) {
			t.Errorf("invalid records: %v, %v", first, outcomes[:3])
		}
		for i, err := range outcomes[3:] {
			_, missing := cache.Get(ctx, records[i+3].Key)
			if backend.Tag(records[i+3].Key, options) == foreign {
				if lost++; !redis.HasErrorPrefix(err, "WRONGTYPE") || missing != wildkey.ErrNotFound {
					t.Errorf("%s, where a string is in the place of the index: %v, Get %v", records[i+3].Key, err, missing)
				}
			} else if err != nil || missing != nil {
				t.Errorf("%s: %v, Get %v", records[i+3].Key, err, missing)
			}
		}
		if lost == 0 || written != 100-lost {
			t.Errorf("%d written, %d of 100 lost", written, lost)
		}
	})
}

// TestPutEachTakesFewCalls, and sends no record often, whatever the conditions.
func TestPutEachTakesFewCalls(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var calls, sent atomic.Int64
		b.Client.AddHook(backend.Hook{Before: func(commands []redis.Cmder) {
			calls.Add(1)
			if commands[0].Name() == "evalsha" {
				n := int64(commands[0].Args()[2].(int) - 2)
				if sent.Add(n); n > 250 {
					t.Errorf("a call has %d records", n)
				}
			}
		}})
		for _, row := range []struct {
			name        string
			shards      int
			condition   func(n int) wildkey.Condition
			calls, sent int64
		}{
			{"one shard", 1, func(int) wildkey.Condition { return wildkey.Condition{} }, 4, 1000},
			{"seven shards", 7, func(int) wildkey.Condition { return wildkey.Condition{} }, 7, 1000},
			{"all conditions hold", 1, func(int) wildkey.Condition { return wildkey.Absent() }, 4, 1000},
			{"all conditions fail", 1, func(int) wildkey.Condition { return wildkey.Present() }, 1000, 4 * 2 * 500},
			{"ten in a row fail", 1, func(n int) wildkey.Condition {
				if n%250 < 10 {
					return wildkey.Present()
				}
				return wildkey.Absent()
			}, 4 * 20, 4 * 3 * 250},
		} {
			b.Do(t, "FLUSHALL")
			cache := b.Cache(t, wildkey.Options{Shards: row.shards})
			backend.Must(t, cache.Load(ctx))
			var records []wildkey.Record
			for n := range 1000 {
				records = append(records, wildkey.Record{Key: wildkey.K(n), If: row.condition(n)})
			}
			calls.Store(0)
			sent.Store(0)
			outcomesOf(t, cache, records)
			if calls.Load() > row.calls || sent.Load() > row.sent {
				t.Errorf("%s: 1,000 records take %d calls with %d records, want at most %d with %d",
					row.name, calls.Load(), sent.Load(), row.calls, row.sent)
			}
		}
	})
}

// TestPutEachIsBounded: PutEach puts no more into a call than Options.CallBytes
// or one larger record, and holds no more than a call.
func TestPutEachIsBounded(t *testing.T) {
	const limit = 10_000
	var records []wildkey.Record
	for n, size := range []int{3_000, 3_000, 3_000, 3_000, 50_000, 1, 1, 9_000, 900, 900} {
		records = append(records, backend.Rec(wildkey.K("k", n), strings.Repeat("v", size)))
	}
	want := []int{3, 1, 1, 4, 1}
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		var calls []int
		b.Client.AddHook(backend.Hook{Before: func(commands []redis.Cmder) {
			if commands[0].Name() == "evalsha" {
				calls = append(calls, commands[0].Args()[2].(int)-2)
			}
		}})
		cache := b.Cache(t, wildkey.Options{CallBytes: limit})
		backend.Must(t, cache.Load(ctx))
		held, most := 0, 0
		_, err := cache.PutEach(ctx, func(yield func(wildkey.Record) bool) {
			for _, record := range records {
				held += len(record.Value)
				if most = max(most, held); !yield(record) {
					return
				}
			}
		}, func(record wildkey.Record, err error) {
			backend.Must(t, err)
			held -= len(record.Value)
		})
		backend.Must(t, err)
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Errorf("records in the calls of PutEach (-want +got)\n%s", diff)
		}
		if most > 50_000 {
			t.Errorf("PutEach holds %d bytes", most)
		}
	})
}

// TestPutEachEndsWithItsContext, and reads no more of the records then.
func TestPutEachEndsWithItsContext(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 10, Shards: 2})
		stopping, stop := context.WithCancel(ctx)
		read := 0
		endless := func(yield func(wildkey.Record) bool) {
			for yield(backend.Rec(wildkey.K(read), "v")) {
				read++
			}
		}
		written, err := cache.PutEach(stopping, endless, func(record wildkey.Record, err error) {
			if backend.Must(t, err); record.Key[0] == "25" {
				stop()
			}
		})
		if n, _ := cache.Count(ctx, wildkey.MustParsePattern("**")); written != 40 || n != 40 || read >= 60 || !errors.Is(err, context.Canceled) {
			t.Errorf("PutEach: %d, %v, %d are there, %d were read", written, err, n, read)
		}
		b.LimitMemory(t, "1")
		outcomes, written, err := outcomesOf(t, cache, []wildkey.Record{backend.Rec(wildkey.K("x"), "v"), backend.Rec(wildkey.K("y"), "v")})
		b.LimitMemory(t, "0")
		if written != 0 || !redis.IsOOMError(err) || !redis.IsOOMError(outcomes[0]) || !redis.IsOOMError(outcomes[1]) {
			t.Errorf("on a full server: %d, %v, %v", written, err, outcomes)
		}
	})
}
