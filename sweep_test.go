package wildkey_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

func TestStaleEntriesAreSwept(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		put := func(cache *wildkey.Cache) {
			for _, name := range []string{"a", "b", "c"} {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(name), "v")))
			}
			b.Do(t, "UNLINK", "{test}:a", "{test}:b") // as eviction does
		}
		readOnly := b.Cache(t, wildkey.Options{ReadOnly: true})
		put(readOnly)
		all := wildkey.MustParsePattern("**")
		for range 2 {
			got, err := readOnly.All(ctx, all)
			backend.Must(t, err)
			if diff := cmp.Diff([]string{"c=v"}, backend.Entries(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		if got := b.Members(t); len(got) != 3 {
			t.Errorf("a read-only cache has swept: the order index holds %q", got)
		}

		cache := b.Cache(t, wildkey.Options{})
		got, err := cache.Collect(ctx, all)
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"c=v"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c"}, b.Members(t)); diff != "" {
			t.Errorf("order index after a page met stale entries (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"c"}, b.Members(t, "expiry")); diff != "" {
			t.Errorf("expiry index after a page met stale entries (-want +got)\n%s", diff)
		}

		put(cache)
		if stats, err := cache.Sweep(ctx); err != nil || stats != (wildkey.SweepStats{Dropped: 2}) {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if diff := cmp.Diff([]string{"c"}, b.Members(t)); diff != "" {
			t.Errorf("order index after Sweep (-want +got)\n%s", diff)
		}
	})
}
