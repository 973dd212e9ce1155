package wildkey_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
)

// TestDeclaredKeys runs every verb where a script may use what KEYS names and nothing else.
func TestDeclaredKeys(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		b.Engine.SetDeclaredKeysOnly(true)
		for _, options := range []wildkey.Options{{PageLimit: 7}, {PageLimit: 7, Shards: 3, ShardSegments: 2}} {
			b.Do(t, "FLUSHALL")
			strict := b.Cache(t, options)
			options.DeclaredKeys = true
			cache := b.Cache(t, options)
			var want []string
			for n := range 40 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", n, "session"), fmt.Sprint(n))))
				want = append(want, fmt.Sprintf("user:%d:session=%d", n, n))
			}
			slices.Sort(want)
			sessions := wildkey.MustParsePattern("user:*:session")
			if _, err := strict.Collect(ctx, sessions); err == nil {
				t.Error("Collect works without DeclaredKeys: the test shows nothing")
			}
			backend.WantAll(t, cache, "user:*:session", want...)
			gone := wildkey.K("user", 0, "session")
			b.Do(t, "DEL", backend.Tag(cache, gone)+":"+gone.String())
			want = want[1:]
			backend.WantAll(t, cache, "user:*:session", want...)
			var keys []string
			for key, err := range cache.MatchKeys(ctx, sessions) {
				backend.Must(t, err)
				keys = append(keys, key.String())
			}
			if len(keys) != 39 || slices.Contains(keys, gone.String()) {
				t.Errorf("MatchKeys: %q", keys)
			}
			if page, err := cache.Page(ctx, wildkey.Under(gone), wildkey.PageOptions{}); len(page.Entries) > 0 || err != nil {
				t.Errorf("a page of a stale entry: %v, %v", page, err)
			}
			page, err := cache.Page(ctx, sessions, wildkey.PageOptions{Limit: 3, After: wildkey.K("user", 1, "session")})
			next := slices.Index(want, "user:1:session=1") + 1
			if diff := cmp.Diff(want[next:next+3], backend.Entries(page.Entries)); diff != "" || err != nil {
				t.Errorf("Page: %v (-want +got)\n%s", err, diff)
			}
			for name, call := range map[string]func() error{
				"Count":   func() error { _, err := cache.Count(ctx, sessions); return err },
				"WithTTL": func() error { _, err := cache.Page(ctx, sessions, wildkey.PageOptions{WithTTL: true}); return err },
				"List": func() error {
					for _, err := range cache.List(ctx, wildkey.MustParsePattern("user:*")) {
						return err
					}
					return nil
				},
			} {
				if err := call(); !errors.Is(err, wildkey.ErrBadArgument) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if n, err := cache.Estimate(ctx, wildkey.MustParsePattern("**")); n != 40 || err != nil {
				t.Errorf("Estimate: %d, %v", n, err)
			}
			if n, err := cache.Sweep(ctx); n != 1 || err != nil {
				t.Errorf("Sweep: %d, %v", n, err)
			}
			if n, err := cache.TouchMatch(ctx, time.Hour, sessions); n != 39 || err != nil {
				t.Errorf("TouchMatch: %d, %v", n, err)
			}
			if n, err := admin.Move(ctx, cache, b.Cache(t, wildkey.Options{Namespace: "other"})); n != 0 || !errors.Is(err, wildkey.ErrBadArgument) {
				t.Errorf("Move: %d, %v", n, err)
			}
			gone = wildkey.K("user", 1, "session")
			b.Do(t, "DEL", backend.Tag(cache, gone)+":"+gone.String()) // its entry goes too
			if n, err := cache.DeleteMatch(ctx, sessions); n != 38 || err != nil {
				t.Errorf("DeleteMatch: %d, %v", n, err)
			}
			if members := b.Members(t); len(members) > 0 {
				t.Errorf("in the index: %q", members)
			}
		}
	})
}
