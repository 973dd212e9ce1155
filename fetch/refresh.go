package fetch

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wildkey/wildkey"
)

// sample chooses the hits that ask for the time left.
func sample() bool { return rand.IntN(100) == 0 }

// refreshAhead now and then looks how long the record that was hit still lives and, if
// that is little, has it loaded again in the background.
func (f *Fetcher) refreshAhead(ctx context.Context, key wildkey.Key, served []byte, load Load) {
	if f.options.RefreshAhead == 0 || !f.sample() {
		return
	}
	name := key.String()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flights[name] != nil {
		return
	}
	served = append([]byte{}, served...) // the caller may change it
	key = slices.Clone(key)
	f.begin(ctx, name, func(ctx context.Context, own *flight) ([]byte, error) {
		left, err := f.cache.TTL(ctx, key)
		if err != nil || left >= time.Duration(f.options.RefreshAhead*float64(f.cache.Options().TTL)) {
			return served, err
		}
		lease, still := f.newLease(key), wildkey.Equal(served)
		if _, err := f.cache.Apply(ctx, wildkey.OpCheck(key).If(still), lease.take()); err != nil {
			f.drop(ctx, lease) // in case that its answer was lost
			return served, nil // somebody else loads, or has put another value
		}
		f.counts.refreshes.Add(1)
		return f.load(ctx, own, lease, load, still)
	})
}
