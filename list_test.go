package wildkey_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/luatest"
)

// listed returns the items of a List, with a colon behind what others are beneath.
func listed(t *testing.T, cache *wildkey.Cache, pattern string) (items []string) {
	t.Helper()
	for item, err := range cache.List(ctx, wildkey.MustParsePattern(pattern)) {
		backend.Must(t, err)
		text := item.Key.String()
		if item.Beneath {
			text += ":"
		}
		items = append(items, text)
	}
	return items
}

func TestList(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, options := range []wildkey.Options{
			{}, {PageLimit: 1}, {PageReads: 1}, {CallBytes: 1}, {Shards: 5}, {Shards: 5, ShardSegments: 2}, {Shards: 5, PageLimit: 1},
		} {
			t.Run(fmt.Sprintf("%+v", options), func(t *testing.T) {
				b.Do(t, "FLUSHALL")
				cache := b.Cache(t, options)
				for _, encoded := range []string{
					"user:4", "user:4-:x", "user:4:a", "user:4:b:c", "user:40:x", "user:5:x", "user:6:x", "user:6:y", "user:7", "users", "a:b",
				} {
					key, err := wildkey.ParseKey(encoded)
					backend.Must(t, err)
					backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
					if len(key) == 3 && key[1] == "6" { // as Redis does when a record expires
						b.Do(t, "DEL", backend.Tag(cache, key)+":"+encoded)
					}
				}
				for _, row := range []struct {
					pattern string
					want    []string
				}{
					{"*", []string{"a:", "user:", "users"}},
					{"user", []string{"user:"}},
					{"user:*", []string{"user:4", "user:4-:", "user:40:", "user:4:", "user:5:", "user:7"}},
					{"user:4", []string{"user:4", "user:4:"}},
					{"user:4:*", []string{"user:4:a", "user:4:b:"}},
					{"user:4*", []string{"user:4", "user:4-:", "user:40:", "user:4:"}},
					{"user:40<7", []string{"user:40:", "user:5:"}},
					{"user:*:x", []string{"user:4-:x", "user:40:x", "user:5:x"}},
					{"*:*:*", []string{"user:4-:x", "user:40:x", "user:4:a", "user:4:b:", "user:5:x"}},
					{"user:6:*", nil},
					{"none:*", nil},
				} {
					if diff := cmp.Diff(row.want, listed(t, cache, row.pattern)); diff != "" {
						t.Errorf("%s (-want +got)\n%s", row.pattern, diff)
					}
				}
			})
		}
	})
}

// TestListPages: a page of a List has half of PageLimit, as a leap takes longer than an entry.
func TestListPages(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{PageLimit: 5})
		for n := range 8 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", n, "x"), "v")))
		}
		backend.Warm(t, cache)
		calls := b.CountCalls()
		if items := listed(t, cache, "user:*"); len(items) != 8 || calls.Load() != 3 {
			t.Errorf("%d pages for %q", calls.Load(), items)
		}
	})
}

func TestListRefusesRest(t *testing.T) {
	cache := backend.Cache(t, luatest.New().Client(), wildkey.Options{Shards: 3})
	for _, pattern := range []wildkey.Pattern{wildkey.MustParsePattern("**"), wildkey.MustParsePattern("user:**"), {}} {
		for item, err := range cache.List(ctx, pattern) {
			if !errors.Is(err, wildkey.ErrBadPattern) {
				t.Errorf("%q: %v, %v", pattern, item, err)
			}
		}
	}
}

func TestEstimate(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 3})
		for user := range 9 {
			for n := range user {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, n), "v")))
			}
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("a", "b"), "v")))
		b.Do(t, "DEL", backend.Tag(cache, wildkey.K("user"))+":user:8:0") // by hand: its entry stays
		for _, row := range []struct {
			pattern string
			want    int
		}{{"**", 38}, {"user:**", 37}, {"user:8:**", 9}, {"user:8:0:**", 1}, {"a:**", 2}, {"user:0:**", 1}} {
			if n, err := cache.Estimate(ctx, wildkey.MustParsePattern(row.pattern)); n != row.want || err != nil {
				t.Errorf("%s: %d, %v, want %d", row.pattern, n, err, row.want)
			}
		}
		for _, text := range []string{"*", "user", "user:*:**", "us*:**", "a<b:**", "user:4:*"} {
			if n, err := cache.Estimate(ctx, wildkey.MustParsePattern(text)); !errors.Is(err, wildkey.ErrBadPattern) {
				t.Errorf("%s: %d, %v", text, n, err)
			}
		}
	})
}

// TestPageAfter pages by keys, as who shows a list sorted by key does. The key itself
// may be gone, or outside of the pattern.
func TestPageAfter(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, options := range []wildkey.Options{{}, {Shards: 4, ShardSegments: 2}} {
			b.Do(t, "FLUSHALL")
			cache := b.Cache(t, options)
			for n := range 9 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", n), "v")))
			}
			for _, row := range []struct {
				after wildkey.Key
				want  []string
			}{
				{nil, []string{"user:0=v", "user:1=v"}},
				{wildkey.K("user", 3), []string{"user:4=v", "user:5=v"}},
				{wildkey.K("user", "3-"), []string{"user:4=v", "user:5=v"}},
				{wildkey.K("user", 7), []string{"user:8=v"}},
				{wildkey.K("a"), []string{"user:0=v", "user:1=v"}},
				{wildkey.K("user", 8), []string{}},
				{wildkey.K("z"), []string{}},
			} {
				page, err := cache.Page(ctx, wildkey.MustParsePattern("user:*"), wildkey.PageOptions{After: row.after, Limit: 2})
				if diff := cmp.Diff(row.want, backend.Entries(page.Entries)); diff != "" || err != nil {
					t.Errorf("%+v: after %s: %v (-want +got)\n%s", options, row.after, err, diff)
				}
			}
			for name, page := range map[string]wildkey.PageOptions{
				"both":        {Cursor: "[user:1", After: wildkey.K("user", 1)},
				"an odd key":  {After: wildkey.Key{"a", ""}},
				"the key nil": {After: wildkey.Key{}},
			} {
				_, err := cache.Page(ctx, wildkey.MustParsePattern("user:*"), page)
				if !errors.Is(err, wildkey.ErrBadArgument) && !errors.Is(err, wildkey.ErrInvalidKey) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	})
}
