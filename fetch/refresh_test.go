package fetch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

// onRefresh runs a test with a record that is below a half of its time to live, and a
// Fetcher that looks at each hit.
func onRefresh(t *testing.T, test func(t *testing.T, b *backend.Backend, cache *wildkey.Cache, f *Fetcher)) {
	t.Helper()
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, err := New(cache, Options{RefreshAhead: 0.5, Negative: time.Minute})
		backend.Must(t, err)
		f.sample = func() bool { return true }
		backend.Must(t, cache.Put(context.Background(), wildkey.Record{Key: key, Value: []byte("old"), TTL: 29 * time.Minute}))
		test(t, b, cache, f)
	})
}

func wantHit(t *testing.T, f *Fetcher, load Load, want string) {
	t.Helper()
	if got, err := f.Get(context.Background(), key, load); string(got) != want || err != nil {
		t.Errorf("Get: %q, %v, want %q", got, err, want)
	}
	f.rest()
}

func TestRefreshAhead(t *testing.T) {
	onRefresh(t, func(t *testing.T, b *backend.Backend, cache *wildkey.Cache, f *Fetcher) {
		loads := new(atomic.Int64)
		load := func(context.Context) (Loaded, error) {
			loads.Add(1)
			wantServed, err := cache.Get(context.Background(), key)
			if string(wantServed) != "old" || err != nil {
				t.Errorf("meanwhile all are served %q, %v", wantServed, err)
			}
			return Loaded{Value: []byte("new")}, nil
		}
		wantHit(t, f, load, "old")
		wantHit(t, f, load, "new") // which has the whole time to live
		if loads.Load() != 1 || f.Stats().Refreshes != 1 {
			t.Errorf("%d loads, %+v", loads.Load(), f.Stats())
		}
		if ttl, err := cache.TTL(context.Background(), key); ttl < 59*time.Minute || err != nil {
			t.Errorf("the record lives for %v, %v", ttl, err)
		}
	})
}

// TestRefreshLosesToPut: a value that is put meanwhile by one who knows of no lease is
// newer than what was loaded.
func TestRefreshLosesToPut(t *testing.T) {
	onRefresh(t, func(t *testing.T, b *backend.Backend, cache *wildkey.Cache, f *Fetcher) {
		wantHit(t, f, func(ctx context.Context) (Loaded, error) {
			return Loaded{Value: []byte("loaded")}, cache.Put(ctx, backend.Rec(key, "put"))
		}, "old")
		wantHit(t, f, nil, "put")
		if n, err := cache.Count(context.Background(), wildkey.MustParsePattern("**").Leases()); n != 0 || err != nil {
			t.Errorf("%d leases are left, %v", n, err)
		}
	})
}

// TestRefreshOfWhatIsGone deletes the record, and remembers that there is nothing.
func TestRefreshOfWhatIsGone(t *testing.T) {
	onRefresh(t, func(t *testing.T, b *backend.Backend, cache *wildkey.Cache, f *Fetcher) {
		gone := func(context.Context) (Loaded, error) { return Loaded{}, wildkey.ErrNotFound }
		wantHit(t, f, gone, "old")
		if _, err := f.Get(context.Background(), key, nil); !errors.Is(err, wildkey.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
		if loads := f.Stats().Loads; loads != 1 {
			t.Errorf("%d loads", loads)
		}
	})
}

// TestRefreshFails leaves the record, and the lease to the next who looks.
func TestRefreshFails(t *testing.T) {
	onRefresh(t, func(t *testing.T, b *backend.Backend, cache *wildkey.Cache, f *Fetcher) {
		loads := new(atomic.Int64)
		fails := func(context.Context) (Loaded, error) {
			loads.Add(1)
			return Loaded{}, errors.New("the database is down")
		}
		wantHit(t, f, fails, "old")
		wantHit(t, f, fails, "old")
		if loads.Load() != 2 {
			t.Errorf("%d loads", loads.Load())
		}
	})
}

// TestSample: one hit in a hundred.
func TestSample(t *testing.T) {
	const hits = 100_000
	chosen := 0
	for range hits {
		if sample() {
			chosen++
		}
	}
	if chosen < hits/200 || chosen > hits/50 {
		t.Errorf("%d of %d hits", chosen, hits)
	}
}
