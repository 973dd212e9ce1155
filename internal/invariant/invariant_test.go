package invariant_test

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/invariant"
)

// TestLeases: a lease is held against the model as a record is, and is none.
func TestLeases(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		ctx, cache := context.Background(), b.Cache(t, wildkey.Options{})
		for _, name := range []string{"held", "lost", "ended"} {
			_, err := cache.Apply(ctx, wildkey.OpPut(backend.Rec(wildkey.K(name), "token")).OnLease())
			backend.Must(t, err)
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("held"), "v")))
		b.Do(t, "DEL", "{test}:!ended")
		b.Do(t, "ZREM", "{test}/keys", "!lost")
		for _, odd := range []string{"!", "!!held"} {
			b.Do(t, "SET", "{test}:"+odd, "v")
			b.Do(t, "ZADD", "{test}/keys", 0, odd)
		}
		defer b.Do(t, "FLUSHALL") // what is broken is so on purpose

		report, err := invariant.Check(ctx, b.Client)
		backend.Must(t, err)
		want := invariant.Report{Records: 1, Leases: 4, Entries: 5, Breaches: []string{
			"{test}:! is a lease of no key", "{test}:!!held is a lease of no key",
			"{test}:!lost is not in the index: redis: nil",
		}}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Errorf("Check (-want +got)\n%s", diff)
		}

		reply, err := b.Client.Eval(ctx, invariant.Snapshot, nil).Result()
		backend.Must(t, err)
		state, _, err := invariant.ParseSnapshot(reply)
		backend.Must(t, err)
		breaches := []string{
			"no entry of {test}:!lost", "{test}:! is a lease of no key", "{test}:!!held is a lease of no key",
		}
		if diff := cmp.Diff(breaches, slices.Sorted(maps.Keys(state.Breaches()))); diff != "" {
			t.Errorf("Breaches (-want +got)\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{"{test}/keys !ended": "{test}:!ended"}, state.Stale()); diff != "" {
			t.Errorf("Stale (-want +got)\n%s", diff)
		}

		b.Do(t, "DEL", "{test}:!", "{test}:!!held")
		b.Do(t, "ZREM", "{test}/keys", "!", "!!held")
		b.Do(t, "ZADD", "{test}/keys", 0, "!lost")
		report, err = invariant.Check(ctx, b.Client)
		backend.Must(t, err)
		if len(report.Breaches) > 0 || report.Stale() != 1 {
			t.Errorf("after the repair: %+v, %d stale", report, report.Stale())
		}
	})
}
