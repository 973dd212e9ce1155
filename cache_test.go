package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

// The tests of the reference document, by the names that they have there.

func TestReferenceCanPutGetAndDeleteRecords(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache, key := b.cache(t, wildkey.Options{}), wildkey.K("key")
		if value, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("before Put: %q, %v", value, err)
		}
		must(t, cache.Put(ctx, rec(key, "value")))
		if value, err := cache.Get(ctx, key); err != nil || string(value) != "value" {
			t.Errorf("after Put: %q, %v", value, err)
		}
		if n, err := cache.Delete(ctx, key); err != nil || n != 1 {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if value, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("after Delete: %q, %v", value, err)
		}
	})
}

func TestReferenceWithAsyncWrites(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache, key := b.cache(t, wildkey.Options{}), wildkey.K("key")
		writer := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		must(t, writer.Put(ctx, rec(key, "value")))
		must(t, writer.Flush(ctx))
		if value, err := cache.Get(ctx, key); err != nil || string(value) != "value" {
			t.Errorf("after Put and Flush: %q, %v", value, err)
		}
		must(t, writer.Delete(ctx, key))
		must(t, writer.Close())
		if value, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("after Delete and Close: %q, %v", value, err)
		}
	})
}

func TestReferenceDeleteRemovesFromIndexes(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("namespace", "key1"), "value")))
		must(t, cache.Put(ctx, rec(wildkey.K("namespace", "key2"), "value")))
		for _, index := range []string{"keys", "expiry"} {
			if diff := cmp.Diff([]string{"namespace:key1", "namespace:key2"}, b.members(t, index)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", index, diff)
			}
		}
		if _, err := cache.Delete(ctx, wildkey.K("namespace", "key1")); err != nil {
			t.Fatal(err)
		}
		for _, index := range []string{"keys", "expiry"} {
			if diff := cmp.Diff([]string{"namespace:key2"}, b.members(t, index)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", index, diff)
			}
		}
	})
}

func TestReferenceRaisesErrorOnFullServer(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("old", "1"), "value"), rec(wildkey.K("old", "2"), "value")))
		must(t, cache.Load(ctx))
		b.limitMemory(t, "1")

		err := cache.Put(ctx, rec(wildkey.K("old", "1"), "changed"), rec(wildkey.K("new"), "value"))
		if !redis.IsOOMError(err) {
			t.Errorf("Put: %v, want an OOM error", err)
		}
		if _, err := cache.Touch(ctx, time.Minute, wildkey.K("old", "1")); !redis.IsOOMError(err) {
			t.Errorf("Touch: %v, want an OOM error", err)
		}
		got, err := cache.All(ctx, wildkey.MustParsePattern("**"))
		must(t, err)
		if diff := cmp.Diff([]string{"old:1=value", "old:2=value"}, entries(got)); diff != "" {
			t.Errorf("after the refused Put (-want +got)\n%s", diff)
		}
		if n, err := cache.Delete(ctx, wildkey.K("old", "1")); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if n := b.client.Del(ctx, "{test}:old:2").Val(); n != 1 {
			t.Fatal("no record to delete by hand")
		}
		if stats, err := cache.Sweep(ctx); stats.Dropped != 1 || err != nil {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if members := b.members(t, "keys"); len(members) != 0 {
			t.Errorf("after Delete and Sweep the order index holds %q", members)
		}
		b.limitMemory(t, "0")
	})
}

func TestReferenceCanPutMultipleRecordsAtOnce(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("key1"), "1"), rec(wildkey.K("key2"), "2")))
		values, err := cache.GetMany(ctx, wildkey.K("key1"), wildkey.K("key2"))
		must(t, err)
		if diff := cmp.Diff([][]byte{[]byte("1"), []byte("2")}, values); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestReferenceCanMatchFetchAll(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		for n := 1; n <= 11; n++ {
			must(t, cache.Put(ctx, rec(wildkey.K(fmt.Sprintf("key%d", n)), "value")))
		}
		must(t, cache.Put(ctx, rec(wildkey.K("namespace", "key"), "value")))
		must(t, cache.Put(ctx, rec(wildkey.K("namespace", "key", "key2"), "value")))
		for pattern, want := range map[string]int{
			"*": 11, "**": 13, "namespace:*": 1, "namespace:**": 2, "namespace:*:*": 1, "*:*": 1, "key1*": 3, "other:**": 0,
		} {
			got, err := cache.All(ctx, wildkey.MustParsePattern(pattern))
			must(t, err)
			if len(got) != want {
				t.Errorf("%s: %q, want %d", pattern, entries(got), want)
			}
		}
	})
}

func TestReferenceRecordsAutoPurge(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		const short = 50 * time.Millisecond
		must(t, cache.Put(ctx,
			wildkey.Record{Key: wildkey.K("key"), Value: []byte("value"), TTL: short},
			wildkey.Record{Key: wildkey.K("namespace", "key2"), Value: []byte("2"), TTL: short},
			wildkey.Record{Key: wildkey.K("namespace", "key3"), Value: []byte("3"), TTL: time.Hour},
			wildkey.Record{Key: wildkey.K("namespace", "key4"), Value: []byte("4"), TTL: wildkey.NoExpiry}))
		b.pass(2 * short)
		values, err := cache.GetMany(ctx, wildkey.K("key"), wildkey.K("namespace", "key2"), wildkey.K("namespace", "key3"), wildkey.K("namespace", "key4"))
		must(t, err)
		if diff := cmp.Diff([][]byte{nil, nil, []byte("3"), []byte("4")}, values); diff != "" {
			t.Errorf("after the short TTL (-want +got)\n%s", diff)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 2 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		// Nothing but a write purges what no page has met.
		must(t, cache.Put(ctx, rec(wildkey.K("namespace", "key5"), "5")))
		if diff := cmp.Diff([]string{"namespace:key3", "namespace:key4", "namespace:key5"}, b.members(t, "keys")); diff != "" {
			t.Errorf("order index after a Put (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"namespace:key3", "namespace:key5"}, slices.Sorted(slices.Values(b.members(t, "expiry")))); diff != "" {
			t.Errorf("expiry index after a Put (-want +got)\n%s", diff)
		}
	})
}

// What the verbs promise beyond that.

func TestPutConditions(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		key, other := wildkey.K("a"), wildkey.K("b")
		for _, step := range []struct {
			name  string
			value string
			when  wildkey.Condition
			want  error
		}{
			{"present where there is none", "1", wildkey.Present, wildkey.ErrCondition},
			{"equal where there is none", "1", wildkey.Equal(nil), wildkey.ErrCondition},
			{"absent where there is none", "1", wildkey.Absent, nil},
			{"absent where there is one", "2", wildkey.Absent, wildkey.ErrCondition},
			{"equal to another value", "2", wildkey.Equal([]byte("x")), wildkey.ErrCondition},
			{"equal to the value", "2", wildkey.Equal([]byte("1")), nil},
			{"present where there is one", "", wildkey.Present, nil},
			{"equal to the empty value", "*", wildkey.Equal(nil), nil},
			{"equal to a value that looks like a condition", "3", wildkey.Equal([]byte("*")), nil},
		} {
			before, _ := cache.Get(ctx, key)
			err := cache.Put(ctx, rec(other, step.name), wildkey.Record{Key: key, Value: []byte(step.value), If: step.when})
			if !errors.Is(err, step.want) {
				t.Errorf("%s: %v, want %v", step.name, err, step.want)
			}
			if err != nil && !strings.Contains(err.Error(), "record 2") {
				t.Errorf("%s: %v does not name the record", step.name, err)
			}
			want, wantOther := step.value, step.name
			if step.want != nil {
				want, wantOther = string(before), ""
			}
			if got, _ := cache.Get(ctx, key); string(got) != want {
				t.Errorf("%s: the value is %q, want %q", step.name, got, want)
			}
			if got, _ := cache.Take(ctx, other); string(got) != wantOther {
				t.Errorf("%s: the record beside it is %q, want %q", step.name, got, wantOther)
			}
		}
	})
}

func TestGetManyTellsEmptyFromAbsent(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("empty"), ""), rec(wildkey.K("full"), "v")))
		values, err := cache.GetMany(ctx, wildkey.K("full"), wildkey.K("absent"), wildkey.K("empty"), wildkey.K("full"))
		must(t, err)
		if diff := cmp.Diff([][]byte{[]byte("v"), nil, {}, []byte("v")}, values); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if value, err := cache.Get(ctx, wildkey.K("empty")); value == nil || len(value) != 0 || err != nil {
			t.Errorf("Get: %#v, %v, want empty and not nil", value, err)
		}
		if value, err := cache.Take(ctx, wildkey.K("empty")); value == nil || len(value) != 0 || err != nil {
			t.Errorf("Take: %#v, %v, want empty and not nil", value, err)
		}
	})
}

func TestTakeGivesTheValueOnce(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache, key := b.cache(t, wildkey.Options{}), wildkey.K("token", "abc")
		must(t, cache.Put(ctx, rec(key, "v")))
		var taken atomic.Int32
		done := make(chan error)
		for range 20 {
			go func() {
				value, err := cache.Take(ctx, key)
				if err == nil && string(value) == "v" {
					taken.Add(1)
				} else if err == wildkey.ErrNotFound {
					err = nil
				}
				done <- err
			}()
		}
		for range 20 {
			must(t, <-done)
		}
		if taken.Load() != 1 {
			t.Errorf("%d of 20 concurrent calls had the value", taken.Load())
		}
	})
}

func TestTouch(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{TTL: time.Hour})
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "1"), rec(wildkey.K("a", "b"), "2"), rec(wildkey.K("c"), "3")))
		ttl := func(name string) time.Duration { // to the minute; -1 if there is none
			left := b.client.PTTL(ctx, "{test}:"+name).Val()
			if left < 0 {
				return left
			}
			return left.Round(time.Minute)
		}

		if n, err := cache.Touch(ctx, 2*time.Hour, wildkey.K("a"), wildkey.K("absent")); n != 1 || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
		}
		if n, err := cache.TouchMatch(ctx, wildkey.NoExpiry, wildkey.MustParsePattern("a:**")); n != 2 || err != nil {
			t.Errorf("TouchMatch: %d, %v", n, err)
		}
		if got := ttl("a:b"); got != -1 {
			t.Errorf("after NoExpiry the TTL is %v", got)
		}
		if n, err := cache.Touch(ctx, 0, wildkey.K("a")); n != 1 || err != nil {
			t.Errorf("Touch with 0: %d, %v", n, err)
		}
		if got := ttl("a"); got != time.Hour {
			t.Errorf("after a TTL of 0, for Options.TTL, it is %v", got)
		}
		if got := ttl("c"); got != time.Hour {
			t.Errorf("the TTL of a record that no call named is %v", got)
		}
	})
}

func TestDeleteMatchInBatches(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 7, PageLimit: 5, PageReads: 3})
		for user := range 4 {
			for session := range 10 {
				must(t, cache.Put(ctx, rec(wildkey.K("user", user, "session", session), "v"), rec(wildkey.K("user", user, "name", session), "v")))
			}
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*:session:**")); n != 40 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 40 || err != nil {
			t.Errorf("Count of the rest: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*:session:**")); n != 0 || err != nil {
			t.Errorf("DeleteMatch of nothing: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != 40 || err != nil {
			t.Errorf("DeleteMatch of all: %d, %v", n, err)
		}
		if n := b.client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}

// TestIteration turns every bound down so far that cursors fall everywhere,
// and expects of each combination the same records in the same order.
func TestIteration(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		whole := b.cache(t, wildkey.Options{})
		for _, encoded := range []string{"4", "4-", "4-:x", "4:a", "4:x", "4:x:a", "40", "40:x", "a", "a:x", "a:x:a", "a:x:b", "b:y", "%3A:x"} {
			key, err := wildkey.ParseKey(encoded)
			must(t, err)
			must(t, whole.Put(ctx, rec(key, strings.Repeat("v", len(encoded)))))
		}
		for _, text := range []string{"**", "*", "*:x", "*:x:**", "4:**", "4*:**", "4*:x", "a:x:*", "*:*:a", "4", "none"} {
			pattern := wildkey.MustParsePattern(text)
			want, err := whole.All(ctx, pattern)
			must(t, err)
			if !slices.IsSortedFunc(want, func(a, b wildkey.Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) }) {
				t.Errorf("%s: %q is not in byte order", text, entries(want))
			}
			for _, options := range []wildkey.Options{
				{PageLimit: 1}, {PageLimit: 2}, {PageReads: 1}, {PageReads: 2}, {PageReads: 3}, {PageBytes: 1}, {PageBytes: 9}, {PageLimit: 2, PageReads: 3, PageBytes: 7},
			} {
				cache := b.cache(t, options)
				got, err := cache.All(ctx, pattern)
				must(t, err)
				if diff := cmp.Diff(entries(want), entries(got)); diff != "" {
					t.Errorf("%s with %+v (-want +got)\n%s", text, options, diff)
				}
				if n, err := cache.Count(ctx, pattern); n != len(want) || err != nil {
					t.Errorf("%s with %+v: Count: %d, %v, want %d", text, options, n, err, len(want))
				}
				n := 0
				for key, err := range cache.MatchKeys(ctx, pattern) {
					must(t, err)
					if n >= len(want) || key.String() != want[n].Key.String() {
						t.Errorf("%s with %+v: MatchKeys has %s at %d", text, options, key, n)
					}
					n++
				}
				if n != len(want) {
					t.Errorf("%s with %+v: MatchKeys: %d keys, want %d", text, options, n, len(want))
				}
			}
		}
	})
}

func TestIterationStopsWhenTheCallerStops(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{PageLimit: 2})
		for n := range 10 {
			must(t, cache.Put(ctx, rec(wildkey.K("a", n), "v")))
		}
		must(t, cache.Load(ctx))
		settle(t, cache)
		calls := countCalls(b.client)
		met := 0
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("**")) {
			must(t, err)
			if met++; met == 3 {
				break
			}
		}
		if got := calls.Load(); got != 2 {
			t.Errorf("three records, two a page, took %d round trips", got)
		}
	})
}

// countCalls counts the commands that the client sends from now on.
func countCalls(client *redis.Client) *atomic.Int64 {
	var counter callCounter
	client.AddHook(&counter)
	return &counter.calls
}

type callCounter struct{ calls atomic.Int64 }

func (c *callCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *callCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.calls.Add(1)
		return next(ctx, cmd)
	}
}

func (c *callCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.calls.Add(1)
		return next(ctx, cmds)
	}
}

// TestRoundTrips holds the verbs to the round trips that their comments give.
func TestRoundTrips(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Load(ctx))
		settle(t, cache)
		calls := countCalls(b.client)
		key, under := wildkey.K("user", 1, "session", "a"), wildkey.MustParsePattern("user:1:**")
		for _, verb := range []struct {
			name string
			want int64
			call func() error
		}{
			{"Put", 1, func() error { return cache.Put(ctx, rec(key, "1"), rec(wildkey.K("user", 1, "session", "b"), "2")) }},
			{"Get", 1, func() error { _, err := cache.Get(ctx, key); return err }},
			{"GetMany", 1, func() error { _, err := cache.GetMany(ctx, key, key); return err }},
			{"Touch", 1, func() error { _, err := cache.Touch(ctx, 0, key); return err }},
			{"All", 1, func() error { _, err := cache.All(ctx, under); return err }},
			{"Count", 1, func() error { _, err := cache.Count(ctx, under); return err }},
			{"TouchMatch", 2, func() error { _, err := cache.TouchMatch(ctx, 0, under); return err }},
			{"Take", 1, func() error { _, err := cache.Take(ctx, key); return err }},
			{"DeleteMatch", 2, func() error { _, err := cache.DeleteMatch(ctx, under); return err }},
			{"Delete", 1, func() error { _, err := cache.Delete(ctx, key); return err }},
			{"Put of nothing", 0, func() error { return cache.Put(ctx) }},
			{"GetMany of nothing", 0, func() error { _, err := cache.GetMany(ctx); return err }},
			{"Delete of nothing", 0, func() error { _, err := cache.Delete(ctx); return err }},
		} {
			before := calls.Load()
			if err := verb.call(); err != nil {
				t.Errorf("%s: %v", verb.name, err)
			}
			if got := calls.Load() - before; got != verb.want {
				t.Errorf("%s took %d round trips, want %d", verb.name, got, verb.want)
			}
		}
	})
}

func TestStaleEntriesAreSwept(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		put := func(cache *wildkey.Cache) {
			for _, name := range []string{"a", "b", "c"} {
				must(t, cache.Put(ctx, rec(wildkey.K(name), "v")))
			}
			b.do(t, "UNLINK", "{test}:a", "{test}:b") // as eviction does
		}
		readOnly := b.cache(t, wildkey.Options{ReadOnly: true})
		put(readOnly)
		all := wildkey.MustParsePattern("**")
		for range 2 {
			got, err := readOnly.All(ctx, all)
			must(t, err)
			if diff := cmp.Diff([]string{"c=v"}, entries(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		if got := b.members(t, "keys"); len(got) != 3 {
			t.Errorf("a read-only cache has swept: the order index holds %q", got)
		}

		cache := b.cache(t, wildkey.Options{})
		got, err := cache.All(ctx, all)
		must(t, err)
		if diff := cmp.Diff([]string{"c=v"}, entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c"}, b.members(t, "keys")); diff != "" {
			t.Errorf("order index after a page met stale entries (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c"}, b.members(t, "expiry")); diff != "" {
			t.Errorf("expiry index after a page met stale entries (-want +got)\n%s", diff)
		}

		put(cache)
		if stats, err := cache.Sweep(ctx); err != nil || stats != (wildkey.SweepStats{Dropped: 2}) {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if diff := cmp.Diff([]string{"c"}, b.members(t, "keys")); diff != "" {
			t.Errorf("order index after Sweep (-want +got)\n%s", diff)
		}
	})
}

func TestSweepPurgesWhatHasExpired(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		b.do(t, "ZADD", "{test}/keys", 0, "live")
		b.do(t, "SET", "{test}:live", "v")
		pairs, expired := []any{"ZADD", "{test}/keys"}, []any{"ZADD", "{test}/expiry"}
		for n := range 2500 {
			pairs = append(pairs, 0, fmt.Sprintf("gone:%04d", n))
			expired = append(expired, 1, fmt.Sprintf("gone:%04d", n))
		}
		b.do(t, pairs...)
		b.do(t, expired...)
		if stats, err := cache.Sweep(ctx); err != nil || stats != (wildkey.SweepStats{Purged: 2500}) {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if diff := cmp.Diff([]string{"live"}, b.members(t, "keys")); diff != "" {
			t.Errorf("order index (-want +got)\n%s", diff)
		}
	})
}

func TestReindexRestoresLostIndexes(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 10})
		for n := range 25 {
			must(t, cache.Put(ctx,
				wildkey.Record{Key: wildkey.K("expires", n), TTL: time.Hour},
				wildkey.Record{Key: wildkey.K("lasts", n), TTL: wildkey.NoExpiry}))
		}
		other, err := wildkey.New(b.client, wildkey.Options{Namespace: "tes", TTL: time.Hour})
		must(t, err)
		must(t, other.Put(ctx, rec(wildkey.K("t}:x"), "v")))
		b.do(t, "SET", "{test}:not an encoded key", "v")
		b.do(t, "DEL", "{test}/keys", "{test}/expiry")
		if n, err := cache.Reindex(ctx); n != 50 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 50 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if got := b.members(t, "expiry"); len(got) != 25 {
			t.Errorf("the expiry index holds %d entries, want 25", len(got))
		}
		b.do(t, "DEL", "{test}:not an encoded key") // which the invariant is not about
	})
}

// TestReindexOfWrappedClient: a client may be any value that has the methods.
func TestReindexOfWrappedClient(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		wrapped := struct {
			*redis.Client
			_ []string // which cannot be compared
		}{Client: b.client}
		cache, err := wildkey.New(wrapped, wildkey.Options{TTL: time.Hour, Shards: 7})
		must(t, err)
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
		if n, err := cache.Reindex(ctx); n != 1 || err != nil {
			t.Errorf("Reindex: %d, %v", n, err)
		}
		b.do(t, "FLUSHALL")
	})
}

// TestReindexScansOnce: however many shards a server has, it scans its keyspace
// once, and holds no more than so many records at a time.
func TestReindexScansOnce(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		calls := func(shards int) (scans int, batches []int) {
			cache := b.cache(t, wildkey.Options{Shards: shards})
			must(t, cache.Load(ctx))
			for n := range 500 {
				must(t, cache.Put(ctx, rec(wildkey.K("a", n), "v")))
			}
			must(t, cache.Put(ctx, rec(wildkey.K("b"), "v"), rec(wildkey.K("b", "c"), "v")))
			b.engine.ResetTrace()
			if n, err := cache.Reindex(ctx); n != 502 || err != nil {
				t.Errorf("Reindex of %d shards: %d, %v", shards, n, err)
			}
			for _, call := range b.engine.Trace() {
				switch {
				case call.Script != "":
				case call.Args[0] == "SCAN" || call.Args[0] == "scan":
					scans++
				case len(call.Keys()) > 2:
					batches = append(batches, len(call.Keys())-2)
				}
			}
			must(t, b.client.FlushAll(ctx).Err())
			return scans, batches
		}
		scans, batches := calls(1)
		if diff := cmp.Diff([]int{250, 250, 2}, batches); diff != "" {
			t.Errorf("of 1 shard (-want +got)\n%s", diff)
		}
		if got, batches := calls(48); got > scans+1 {
			t.Errorf("of 48 shards it makes %d calls of SCAN, of 1 shard %d", got, scans)
		} else if diff := cmp.Diff([]int{250, 250, 2}, batches); diff != "" {
			t.Errorf("of 48 shards (-want +got)\n%s", diff)
		}
		if _, batches := calls(1000); len(batches) != 6 || slices.Max(batches) != 100 {
			t.Errorf("of 1,000 shards, which may hold 100,000 records, the batches are %d", batches)
		}
	})
}

func TestNamespacesAreApart(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		key := wildkey.K("a")
		names := []string{"x", "x:y", "{x}", "*", "x y", "é"}
		for _, name := range names {
			must(t, b.cache(t, wildkey.Options{Namespace: name}).Put(ctx, rec(key, name)))
		}
		for _, name := range names {
			got, err := b.cache(t, wildkey.Options{Namespace: name}).All(ctx, wildkey.MustParsePattern("**"))
			must(t, err)
			if diff := cmp.Diff([]string{"a=" + name}, entries(got)); diff != "" {
				t.Errorf("namespace %q (-want +got)\n%s", name, diff)
			}
		}
		if n := b.client.Exists(ctx, "{x}:a", "{x%3Ay}:a", "{%7Bx%7D}:a", "{%2A}:a", "{x%20y}:a", "{%C3%A9}:a").Val(); n != 6 {
			t.Errorf("%d of 6 records have the names that the data model gives them", n)
		}
	})
}

func TestMissingScriptsAreLoaded(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		for range 2 {
			must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
			if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
				t.Errorf("Count: %d, %v", n, err)
			}
			must(t, b.client.ScriptFlush(ctx).Err())
		}
	})
}

func TestPreloaded(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{Preloaded: true})
		err := cache.Put(ctx, rec(wildkey.K("a"), "v"))
		put := wildkey.Scripts()[2]
		if !errors.Is(err, wildkey.ErrScriptMissing) || !strings.Contains(err.Error(), "put.lua "+put.SHA1) {
			t.Errorf("Put with no script loaded: %v", err)
		}
		if err := cache.Load(ctx); !errors.Is(err, wildkey.ErrScriptMissing) {
			t.Errorf("Load with no script loaded: %v", err)
		}
		if exists := b.client.ScriptExists(ctx, put.SHA1).Val(); exists[0] {
			t.Error("a preloaded cache has loaded a script")
		}
		for _, script := range wildkey.Scripts() {
			must(t, b.client.ScriptLoad(ctx, script.Source).Err())
		}
		must(t, cache.Load(ctx))
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
	})
}

// TestWithoutEvalRO stands for servers before Redis 7.0, which have no
// EVALSHA_RO: it is tried once and then no more.
func TestWithoutEvalRO(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		var tried atomic.Int32
		b.client.AddHook(hookBefore(func(cmd redis.Cmder) error {
			if cmd.Name() != "evalsha_ro" {
				return nil
			}
			tried.Add(1)
			cmd.SetErr(luatest.Error("ERR unknown command `evalsha_ro`, with args beginning with: "))
			return cmd.Err()
		}))
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
		for range 3 {
			if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
				t.Errorf("Count: %d, %v", n, err)
			}
		}
		if tried.Load() != 1 {
			t.Errorf("EVALSHA_RO was tried %d times", tried.Load())
		}
	})
}

// hookBefore may answer a command in the place of the server.
type hookBefore func(cmd redis.Cmder) error

func (h hookBefore) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h hookBefore) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := h(cmd); err != nil {
			return err
		}
		return next(ctx, cmd)
	}
}

func (h hookBefore) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestMatchRunsReadOnly has a user without write permission, and a replica,
// run the reading verbs.
func TestMatchRunsReadOnly(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
		must(t, cache.Load(ctx))
		mayRead, evalsha, refusal := "%R~{test}*", "+evalsha_ro", "NOPERM"
		if lacksReadOnlyScripts(b) {
			// Nor are there keys that a user may only read; and the script is refused at its first write.
			mayRead, evalsha, refusal = "~{test}*", "+evalsha", "The user executing the script can't run this command"
		}
		b.do(t, "ACL", "SETUSER", "reader", "on", ">secret", mayRead, evalsha,
			"+get", "+mget", "+zcount", "+zrangebylex", "+zscore", "+time")
		reader := redis.NewClient(&redis.Options{Addr: b.server.Addr, Username: "reader", Password: "secret"})
		defer reader.Close()
		reading, err := wildkey.New(reader, wildkey.Options{Namespace: "test", TTL: time.Hour, ReadOnly: true, Preloaded: true})
		must(t, err)
		got, err := reading.All(ctx, wildkey.MustParsePattern("**"))
		must(t, err)
		if diff := cmp.Diff([]string{"a=v"}, entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n, err := reading.Count(ctx, wildkey.MustParsePattern("*")); n != 1 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if err := reading.Put(ctx, rec(wildkey.K("b"), "v")); !redis.HasErrorPrefix(err, refusal) {
			t.Errorf("Put: %v, want %s", err, refusal)
		}
	})
}

func TestArgumentErrors(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		noTTL, err := wildkey.New(b.client, wildkey.Options{Namespace: "test"})
		must(t, err)
		cache := b.cache(t, wildkey.Options{MaxRecords: 2})
		good, bad := wildkey.K("a"), wildkey.K("a", "")
		long := wildkey.K(strings.Repeat("é", 700)) // 4,200 bytes encoded
		everything := wildkey.MustParsePattern("**")
		first := func(_ any, err error) error { return err }
		for _, row := range []struct {
			name string
			got  error
			want error
		}{
			{"Put with an empty segment", cache.Put(ctx, rec(good, "v"), rec(bad, "v")), wildkey.ErrInvalidKey},
			{"Put with no segment", cache.Put(ctx, rec(nil, "v")), wildkey.ErrInvalidKey},
			{"Put with a long key", cache.Put(ctx, rec(long, "v")), wildkey.ErrInvalidKey},
			{"Put without a TTL", noTTL.Put(ctx, rec(good, "v")), wildkey.ErrInvalidTTL},
			{"Put below a millisecond", cache.Put(ctx, wildkey.Record{Key: good, TTL: time.Microsecond}), wildkey.ErrInvalidTTL},
			{"Put with a negative TTL", cache.Put(ctx, wildkey.Record{Key: good, TTL: -time.Second}), wildkey.ErrInvalidTTL},
			{"Put of too many", cache.Put(ctx, rec(good, "v"), rec(good, "v"), rec(good, "v")), wildkey.ErrTooMany},
			{"Get", first(cache.Get(ctx, bad)), wildkey.ErrInvalidKey},
			{"GetMany", first(cache.GetMany(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"GetMany of too many", first(cache.GetMany(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Delete", first(cache.Delete(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"Delete of too many", first(cache.Delete(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Take", first(cache.Take(ctx, bad)), wildkey.ErrInvalidKey},
			{"Touch", first(cache.Touch(ctx, time.Hour, bad)), wildkey.ErrInvalidKey},
			{"Touch without a TTL", first(noTTL.Touch(ctx, 0, good)), wildkey.ErrInvalidTTL},
			{"TouchMatch without a TTL", first(noTTL.TouchMatch(ctx, 0, everything)), wildkey.ErrInvalidTTL},
			{"All of no pattern", first(cache.All(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"Count of no pattern", first(cache.Count(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch of no pattern", first(cache.DeleteMatch(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch under no key", first(cache.DeleteMatch(ctx, wildkey.Under(nil))), wildkey.ErrBadPattern},
			{"DeleteMatch under an empty segment", first(cache.DeleteMatch(ctx, wildkey.Under(bad))), wildkey.ErrBadPattern},
			{"Page with the cursor of another pattern", first(cache.Page(ctx, wildkey.MustParsePattern("b:*"), "(a:1", 0)), wildkey.ErrBadArgument},
			{"Page with a limit out of range", first(cache.Page(ctx, everything, "", 100_000)), wildkey.ErrBadArgument},
			{"New with a TTL below a millisecond", first(wildkey.New(b.client, wildkey.Options{TTL: 1})), wildkey.ErrInvalidTTL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("%s: %v, want %v", row.name, row.got, row.want)
			}
		}
		for _, options := range []wildkey.Options{{PageReads: -1}, {PageReads: 100_000}, {PageLimit: 100_000}, {PageBytes: 1_000_000_000}, {MaxRecords: -1}} {
			if _, err := wildkey.New(b.client, options); err == nil {
				t.Errorf("New with %+v: no error", options)
			}
		}
		if _, err := wildkey.New(nil, wildkey.Options{}); err == nil {
			t.Error("New without a client: no error")
		}
		if n := b.client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("something was written: %d Redis keys", n)
		}
	})
}

// TestServerErrorsStayReachable has a string in the place of the order index.
func TestServerErrorsStayReachable(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		b.do(t, "SET", "{test}/keys", "foreign")
		first := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Put":    cache.Put(ctx, rec(wildkey.K("a"), "v")),
			"Delete": first(cache.Delete(ctx, wildkey.K("a"))),
			"All":    first(cache.All(ctx, wildkey.MustParsePattern("**"))),
			"Count":  first(cache.Count(ctx, wildkey.MustParsePattern("**"))),
		} {
			if !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("%s: %v, want WRONGTYPE", name, err)
			}
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if err := cache.Put(canceled, rec(wildkey.K("a"), "v")); !errors.Is(err, context.Canceled) {
			t.Errorf("Put with a canceled context: %v", err)
		}
	})
}

// TestLargeBatches crosses the thousand arguments that scripts unpack at once.
func TestLargeBatches(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 5_000, PageLimit: 5_000, PageReads: 5_000})
		var records []wildkey.Record
		var keys []wildkey.Key
		for n := range 2_345 {
			keys = append(keys, wildkey.K("a", n))
			records = append(records, rec(keys[n], fmt.Sprint(n)))
		}
		must(t, cache.Put(ctx, records...))
		got, err := cache.All(ctx, wildkey.MustParsePattern("**"))
		must(t, err)
		if len(got) != len(records) {
			t.Errorf("All: %d records, want %d", len(got), len(records))
		}
		for _, entry := range got {
			if entry.Key[1] != string(entry.Value) {
				t.Errorf("the value of %s is %q", entry.Key, entry.Value)
			}
		}
		if n, err := cache.Touch(ctx, time.Minute, keys...); n != len(keys) || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
		}
		if n, err := cache.Delete(ctx, keys...); n != len(keys) || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if n := b.client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}
