// Package reference has the tests of the reference document, by the names that
// they have there, and shows the flaws of the reference.
package reference

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

var ctx = context.Background()

func TestReferenceCanPutGetAndDeleteRecords(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("key")
		if value, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("before Put: %q, %v", value, err)
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "value")))
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
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("key")
		writer := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		backend.Must(t, writer.Put(ctx, backend.Rec(key, "value")))
		backend.Must(t, writer.Flush(ctx))
		if value, err := cache.Get(ctx, key); err != nil || string(value) != "value" {
			t.Errorf("after Put and Flush: %q, %v", value, err)
		}
		backend.Must(t, writer.Delete(ctx, key))
		backend.Must(t, writer.Close())
		if value, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("after Delete and Close: %q, %v", value, err)
		}
	})
}

func TestReferenceDeleteRemovesFromIndexes(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("namespace", "key1"), "value")))
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("namespace", "key2"), "value")))
		for _, index := range []string{"keys", "expiry"} {
			if diff := cmp.Diff([]string{"namespace:key1", "namespace:key2"}, b.Members(t, index)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", index, diff)
			}
		}
		if _, err := cache.Delete(ctx, wildkey.K("namespace", "key1")); err != nil {
			t.Fatal(err)
		}
		for _, index := range []string{"keys", "expiry"} {
			if diff := cmp.Diff([]string{"namespace:key2"}, b.Members(t, index)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", index, diff)
			}
		}
	})
}

func TestReferenceRaisesErrorOnFullServer(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("old", "1"), "value"), backend.Rec(wildkey.K("old", "2"), "value")))
		backend.Must(t, cache.Load(ctx))
		b.LimitMemory(t, "1")

		err := cache.Put(ctx, backend.Rec(wildkey.K("old", "1"), "changed"), backend.Rec(wildkey.K("new"), "value"))
		if !redis.IsOOMError(err) {
			t.Errorf("Put: %v, want an OOM error", err)
		}
		if _, err := cache.Touch(ctx, time.Minute, wildkey.K("old", "1")); !redis.IsOOMError(err) {
			t.Errorf("Touch: %v, want an OOM error", err)
		}
		got, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"old:1=value", "old:2=value"}, backend.Entries(got)); diff != "" {
			t.Errorf("after the refused Put (-want +got)\n%s", diff)
		}
		if n, err := cache.Delete(ctx, wildkey.K("old", "1")); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if n := b.Client.Del(ctx, "{test}:old:2").Val(); n != 1 {
			t.Fatal("no record to delete by hand")
		}
		if stats, err := cache.Sweep(ctx); stats.Dropped != 1 || err != nil {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if members := b.Members(t); len(members) != 0 {
			t.Errorf("after Delete and Sweep the order index holds %q", members)
		}
		b.LimitMemory(t, "0")
	})
}

func TestReferenceCanPutMultipleRecordsAtOnce(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("key1"), "1"), backend.Rec(wildkey.K("key2"), "2")))
		values, err := cache.GetMany(ctx, wildkey.K("key1"), wildkey.K("key2"))
		backend.Must(t, err)
		if diff := cmp.Diff([][]byte{[]byte("1"), []byte("2")}, values); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestReferenceCanMatchFetchAll(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for n := 1; n <= 11; n++ {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(fmt.Sprintf("key%d", n)), "value")))
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("namespace", "key"), "value")))
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("namespace", "key", "key2"), "value")))
		for pattern, want := range map[string]int{
			"*": 11, "**": 13, "namespace:*": 1, "namespace:**": 2, "namespace:*:*": 1, "*:*": 1, "key1*": 3, "other:**": 0,
		} {
			got, err := cache.Collect(ctx, wildkey.MustParsePattern(pattern))
			backend.Must(t, err)
			if len(got) != want {
				t.Errorf("%s: %q, want %d", pattern, backend.Entries(got), want)
			}
		}
	})
}

func TestReferenceRecordsAutoPurge(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		const short = 50 * time.Millisecond
		backend.Must(t, cache.Put(ctx,
			wildkey.Record{Key: wildkey.K("key"), Value: []byte("value"), TTL: short},
			wildkey.Record{Key: wildkey.K("namespace", "key2"), Value: []byte("2"), TTL: short},
			wildkey.Record{Key: wildkey.K("namespace", "key3"), Value: []byte("3"), TTL: time.Hour},
			wildkey.Record{Key: wildkey.K("namespace", "key4"), Value: []byte("4"), TTL: wildkey.NoExpiry}))
		b.Pass(2 * short)
		values, err := cache.GetMany(ctx, wildkey.K("key"), wildkey.K("namespace", "key2"), wildkey.K("namespace", "key3"), wildkey.K("namespace", "key4"))
		backend.Must(t, err)
		if diff := cmp.Diff([][]byte{nil, nil, []byte("3"), []byte("4")}, values); diff != "" {
			t.Errorf("after the short TTL (-want +got)\n%s", diff)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 2 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		// Nothing but a write purges what no page has met.
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("namespace", "key5"), "5")))
		if diff := cmp.Diff([]string{"namespace:key3", "namespace:key4", "namespace:key5"}, b.Members(t)); diff != "" {
			t.Errorf("order index after a Put (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"namespace:key3", "namespace:key5"}, slices.Sorted(slices.Values(b.Members(t, "expiry")))); diff != "" {
			t.Errorf("expiry index after a Put (-want +got)\n%s", diff)
		}
	})
}
