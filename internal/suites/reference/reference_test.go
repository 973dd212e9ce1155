// Package reference has the tests of the reference document, by the names that
// they have there, and shows the flaws of the reference. A test named TestFlaw... fails
// if its flaw does not show, and then takes wildkey.Cache through the same steps.
package reference

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/writer"
)

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
		w := writer.New(cache, writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(key, "value")))
		backend.Must(t, w.Flush(ctx))
		if value, err := cache.Get(ctx, key); err != nil || string(value) != "value" {
			t.Errorf("after Put and Flush: %q, %v", value, err)
		}
		backend.Must(t, w.Delete(ctx, key))
		backend.Must(t, w.Close(ctx))
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
		if diff := cmp.Diff([]string{"namespace:key1", "namespace:key2"}, b.Members(t)); diff != "" {
			t.Errorf("the index (-want +got)\n%s", diff)
		}
		if _, err := cache.Delete(ctx, wildkey.K("namespace", "key1")); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"namespace:key2"}, b.Members(t)); diff != "" {
			t.Errorf("the index after Delete (-want +got)\n%s", diff)
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
		if n, err := cache.Touch(ctx, time.Minute, wildkey.K("old", "1")); n != 1 || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
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
		if n, err := cache.Sweep(ctx); n != 1 || err != nil {
			t.Errorf("Sweep: %d, %v", n, err)
		}
		if members := b.Members(t); len(members) != 0 {
			t.Errorf("after Delete and Sweep the index holds %q", members)
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
		// Count has met what is expired, and has had it swept.
		if diff := cmp.Diff([]string{"namespace:key3", "namespace:key4"}, b.Members(t)); diff != "" {
			t.Errorf("the index after Count (-want +got)\n%s", diff)
		}
		// And where no page comes by, puts of new records do it, some at a time.
		const night, day = 500, 1_000
		for n := range night {
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("night", n), TTL: short}))
		}
		b.Pass(2 * short)
		for n := range day {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("day", n), "v")))
		}
		if stale := len(b.Members(t)) - 2 - day; stale >= night/2 {
			t.Errorf("%d puts leave %d stale entries of %d", day, stale, night)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 2+day || err != nil {
			t.Errorf("Count: %d, %v, want %d", n, err, 2+day)
		}
	})
}
