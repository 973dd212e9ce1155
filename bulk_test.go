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
	"github.com/wildkey/wildkey/luatest"
)

// outcomesOf gives PutEach the records and lists what it says of each.
func outcomesOf(t *testing.T, cache *wildkey.Cache, records []wildkey.Record) (outcomes []error, written int, first error) {
	t.Helper()
	written, first = cache.PutEach(ctx, backend.Source(records...), func(record wildkey.Record, err error) {
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
			left, err := single.Collect(ctx, everything)
			backend.Must(t, err)
			found, err := bulk.Collect(ctx, everything)
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
		cache := b.Cache(t, wildkey.Options{Shards: 7})
		foreign := backend.Tag(cache, wildkey.K("a"))
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
			if backend.Tag(cache, records[i+3].Key) == foreign {
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

// TestPutEachOfARefusedRecord: a server that refuses the calls with one record gets
// the others in other calls.
func TestPutEachOfARefusedRecord(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var calls int
		var code string
		client := b.NewClient(t, func(*redis.Options) {})
		client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
			if cmd.Name() != "evalsha" {
				return nil
			}
			calls++
			if slices.Contains(cmd.Args(), any("{test}:admin:1")) {
				cmd.SetErr(luatest.Error(code + " refused by the test"))
			}
			return cmd.Err()
		}))
		for place := range 250 {
			if place%83 != 0 {
				continue
			}
			code = []string{"NOPERM", "TRYAGAIN", "WRONGTYPE", "BADARG"}[place/83]
			cache := backend.Cache(t, client, wildkey.Options{})
			backend.Warm(t, cache)
			records := make([]wildkey.Record, 250)
			for n := range records {
				records[n] = backend.Rec(wildkey.K("user", n), "v")
			}
			records[place].Key = wildkey.K("admin", 1)
			calls = 0
			outcomes, written, first := outcomesOf(t, cache, records)
			for n, err := range outcomes {
				if (n == place) != redis.HasErrorPrefix(err, code) || n != place && err != nil {
					t.Errorf("record %d, of which %d is refused: %v", n, place, err)
				}
			}
			if written != 249 || !redis.HasErrorPrefix(first, code) || calls > 30 {
				t.Errorf("record %d is refused: %d written in %d calls, %v", place, written, calls, first)
			}
			n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*"))
			if n != 249 || err != nil {
				t.Errorf("found: %d, %v", n, err)
			}
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
				n := int64(commands[0].Args()[2].(int) - 1)
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
				calls = append(calls, commands[0].Args()[2].(int)-1)
			}
		}})
		cache := b.Cache(t, wildkey.Options{CallBytes: limit})
		backend.Must(t, cache.Load(ctx))
		held, most := 0, 0
		_, err := cache.PutEach(ctx, func(yield func(wildkey.Record, error) bool) {
			for _, record := range records {
				held += len(record.Value)
				if most = max(most, held); !yield(record, nil) {
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
		endless := func(yield func(wildkey.Record, error) bool) {
			for yield(backend.Rec(wildkey.K(read), "v"), nil) {
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

// TestPutEachOfAFailingSource writes the records before the failure, and no more.
func TestPutEachOfAFailingSource(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, failure := b.Cache(t, wildkey.Options{CallRecords: 10, Shards: 2}), errors.New("the file ends here")
		for _, row := range []struct {
			before  int
			invalid bool // the record before the failure
			written int
			want    error
		}{
			{0, false, 0, failure}, {1, false, 1, failure}, {19, false, 19, failure}, {20, false, 20, failure}, {45, false, 45, failure},
			{45, true, 44, wildkey.ErrInvalidTTL}, // the first error counts
		} {
			b.Do(t, "FLUSHALL")
			source := func(yield func(wildkey.Record, error) bool) {
				for n := range row.before {
					record := backend.Rec(wildkey.K(n), "v")
					if row.invalid && n == row.before-1 {
						record.TTL = -1
					}
					if !yield(record, nil) {
						return
					}
				}
				if yield(backend.Rec(wildkey.K("failed"), "v"), failure) {
					t.Error("PutEach goes on after a failure of its source")
				}
			}
			outcomes := 0
			n, err := cache.PutEach(ctx, source, func(wildkey.Record, error) { outcomes++ })
			if n != row.written || !errors.Is(err, row.want) || outcomes != row.before {
				t.Errorf("after %d records: %d, %v, %d outcomes", row.before, n, err, outcomes)
			}
			if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != row.written || err != nil {
				t.Errorf("after %d records: Count: %d, %v", row.before, n, err)
			}
		}
	})
}

// TestDeleteEachAndTouchEach give each key its outcome, and count the live records.
func TestDeleteEachAndTouchEach(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 7} {
			cache := b.Cache(t, wildkey.Options{CallRecords: 10, Shards: shards})
			var keys []wildkey.Key
			for n := range 100 {
				keys = append(keys, wildkey.K(n))
				if n < 60 {
					backend.Must(t, cache.Put(ctx, backend.Rec(keys[n], "v")))
				}
			}
			keys[99] = wildkey.K("invalid", "")
			keys[98] = keys[0] // twice
			var invalid []int
			told := 0
			outcome := func(key wildkey.Key, err error) {
				if key.String() != keys[told].String() {
					t.Errorf("outcome %d is that of %s, want %s", told, key, keys[told])
				}
				if err != nil {
					invalid = append(invalid, told)
				}
				told++
			}
			check := func(verb string, n, want int, err, wantErr error) {
				t.Helper()
				if n != want || !errors.Is(err, wantErr) || told != 100 || !slices.Equal(invalid, []int{99}) {
					t.Errorf("%s of %d shards: %d, %v, %d outcomes, invalid are %d", verb, shards, n, err, told, invalid)
				}
				told, invalid = 0, nil
			}
			n, err := cache.TouchEach(ctx, 2*time.Hour, backend.Source(keys...), outcome)
			check("TouchEach", n, 61, err, wildkey.ErrInvalidKey)
			for entry, err := range cache.Match(ctx, wildkey.MustParsePattern("*"), wildkey.WithTTL()) {
				if backend.Must(t, err); entry.TTL <= time.Hour {
					t.Errorf("after TouchEach of %d shards %s has %v", shards, entry.Key, entry.TTL)
				}
			}
			n, err = cache.DeleteEach(ctx, backend.Source(keys...), outcome)
			check("DeleteEach", n, 60, err, wildkey.ErrInvalidKey)
			if n := b.Client.DBSize(ctx).Val(); n != 0 {
				t.Errorf("after DeleteEach of %d shards %d Redis keys are left", shards, n)
			}
			n, err = cache.TouchEach(ctx, 0, backend.Source(keys[:3]...), nil)
			if n != 0 || !errors.Is(err, wildkey.ErrInvalidTTL) {
				t.Errorf("TouchEach with 0: %d, %v", n, err)
			}
		}
	})
}

// TestPutEachOfAKeyThatComesTwice writes both, in their order, in two calls.
func TestPutEachOfAKeyThatComesTwice(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		calls := b.CountCalls()
		a, c := wildkey.K("a"), wildkey.K("c")
		outcomes, written, err := outcomesOf(t, cache, []wildkey.Record{
			backend.Rec(a, "1"), backend.Rec(c, "1"), backend.Rec(a, "2"),
			{Key: c, Value: []byte("2"), If: wildkey.Equal([]byte("1"))}, {Key: c, Value: []byte("3"), If: wildkey.Equal([]byte("1"))},
		})
		if written != 4 || !errors.Is(err, wildkey.ErrCondition) || !errors.Is(outcomes[4], wildkey.ErrCondition) {
			t.Errorf("PutEach: %d, %v, %v", written, err, outcomes)
		}
		if n := calls.Load(); n != 3 {
			t.Errorf("PutEach takes %d calls, want 3", n)
		}
		backend.WantAll(t, cache, "**", "a=2", "c=2")
	})
}
