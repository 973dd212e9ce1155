package reference

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/reference"
	"github.com/wildkey/wildkey/writer"
)

func TestFlawStringAndListCollide(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r := newReference(b)
		list := []string{"k"}
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "of the string")))
		backend.Must(t, r.Put(ctx, time.Hour, refRecord(list, "of the list")))
		wantValue(t, r, "k", "of the list")
		found, err := r.All(ctx, reference.Wild)
		backend.Must(t, err)
		if len(found) != 1 || found[0].Key != "k" {
			t.Errorf("reference: two keys put, found %v", found)
		}
		backend.Must(t, r.Delete(ctx, list))
		if _, err := r.Get(ctx, "k"); !errors.Is(err, redis.Nil) {
			t.Errorf("reference: the string outlives the list: %v", err)
		}

		// A Key is a list; what is a list already is no segment of another.
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("k"), "of the string")))
		if err := cache.Put(ctx, backend.Rec(wildkey.K(list), "of the list")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("a list as a segment: %v, not ErrInvalidKey", err)
		}
		backend.WantAll(t, cache, "**", "k=of the string")
		// And keys that differ stay apart, however much they look alike.
		alike := []wildkey.Key{{"a", "b"}, {"a:b"}, {"a%3Ab"}, {"a", ":b"}, {"k", "k"}, {`["k"]`}, {"{k}"}}
		for i, key := range alike {
			backend.Must(t, cache.Put(ctx, backend.Rec(key, fmt.Sprint(i))))
		}
		for i, key := range alike {
			if value, err := cache.Get(ctx, key); err != nil || string(value) != fmt.Sprint(i) {
				t.Errorf("%q holds %q, %v", key, value, err)
			}
		}
		all, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		for _, entry := range all {
			i := slices.IndexFunc(alike, func(key wildkey.Key) bool { return slices.Equal(key, entry.Key) })
			if i < 0 && entry.Key.String() != "k" || i >= 0 && string(entry.Value) != fmt.Sprint(i) {
				t.Errorf("found %q with %q", entry.Key, entry.Value)
			}
		}
		if len(all) != len(alike)+1 {
			t.Errorf("found %d records of %d", len(all), len(alike)+1)
		}
	})
}

// The engine is one node that serves every slot and looks at none, so this
// takes a server in cluster mode; one that has all slots will do, since a
// command's keys must share a slot even there.
func TestFlawNoHashTag(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		slots := []any{"CLUSTER", "ADDSLOTS"}
		for slot := range 16384 {
			slots = append(slots, slot)
		}
		b.Do(t, slots...)
		backend.Eventually(t, "cluster_state:ok", func() bool {
			return strings.Contains(b.Client.ClusterInfo(ctx).Val(), "cluster_state:ok")
		})

		r := newReference(b)
		backend.Must(t, r.Put(ctx, time.Hour, refRecord([]string{"user", "1"}, "v"), refRecord([]string{"user", "2"}, "v")))
		wantValue(t, r, []string{"user", "1"}, "v")
		if found, err := r.All(ctx, []string{"user", reference.Wild}); !redis.HasErrorPrefix(err, "CROSSSLOT") {
			t.Errorf("reference: all returns %v, %v", found, err)
		}

		cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{b.Server.Addr}})
		t.Cleanup(func() { cluster.Close() })
		for name, client := range map[string]redis.UniversalClient{"node": b.Client, "cluster": cluster} {
			t.Run(name, func(t *testing.T) { everyVerb(t, client) })
		}
	}, "--cluster-enabled", "yes")
}

// everyVerb calls each verb of a Cache on several keys, so that none gets by
// with one slot by chance.
func everyVerb(t *testing.T, client redis.UniversalClient) {
	cache := backend.Cache(t, client, wildkey.Options{})
	backend.Must(t, cache.Load(ctx))
	keys := []wildkey.Key{wildkey.K("user", 1), wildkey.K("user", 2), wildkey.K("user", 3), wildkey.K("zone", 1)}
	backend.Must(t, cache.Put(ctx, backend.Rec(keys[0], "1"), backend.Rec(keys[1], "2"), backend.Rec(keys[2], "3"), backend.Rec(keys[3], "z")))
	backend.WantAll(t, cache, "user:*", "user:1=1", "user:2=2", "user:3=3")

	value, err := cache.Get(ctx, keys[0])
	backend.Must(t, err)
	values, err := cache.GetMany(ctx, keys...)
	backend.Must(t, err)
	if got := fmt.Sprintf("%s %s", value, values); got != "1 [1 2 3 z]" {
		t.Errorf("Get and GetMany: %s", got)
	}
	page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), wildkey.PageOptions{Limit: 3})
	backend.Must(t, err)
	if len(page.Entries) != 3 || page.Cursor == "" {
		t.Errorf("Page: %+v", page)
	}
	for key, err := range cache.MatchKeys(ctx, wildkey.MustParsePattern("zone:*")) {
		if err != nil || key.String() != "zone:1" {
			t.Errorf("MatchKeys: %v, %v", key, err)
		}
	}
	counts := []struct {
		name string
		want int
		call func() (int, error)
	}{
		{"Touch", 4, func() (int, error) { return cache.Touch(ctx, 2*time.Hour, keys...) }},
		{"TouchMatch", 3, func() (int, error) { return cache.TouchMatch(ctx, time.Hour, wildkey.MustParsePattern("user:*")) }},
		{"Count", 4, func() (int, error) { return cache.Count(ctx, wildkey.MustParsePattern("**")) }},
		{"Reindex", 4, func() (int, error) { return admin.Reindex(ctx, client, cache.Layout()) }},
		{"Delete", 2, func() (int, error) { return cache.Delete(ctx, keys[0], keys[3]) }},
		{"DeleteMatch", 2, func() (int, error) { return cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*")) }},
	}
	for _, count := range counts {
		if n, err := count.call(); err != nil || n != count.want {
			t.Errorf("%s: %d, %v; want %d", count.name, n, err, count.want)
		}
	}
	w := writer.New(cache, writer.Options{})
	backend.Must(t, w.Put(ctx, backend.Rec(keys[0], "1"), backend.Rec(keys[3], "z")))
	backend.Must(t, w.Delete(ctx, keys[0]))
	backend.Must(t, w.Close(ctx))
	value, err = cache.Take(ctx, keys[3])
	backend.Must(t, err)
	if string(value) != "z" {
		t.Errorf("Take: %q", value)
	}
	_, err = cache.Sweep(ctx)
	backend.Must(t, err)
	backend.WantAll(t, cache, "**")
}
