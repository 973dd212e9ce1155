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
	"github.com/wildkey/wildkey/internal/backend"
)

// TestShard has vectors that any zlib gives: python3 -c "import zlib; print(zlib.crc32(b'user:42') % 48)".
func TestShard(t *testing.T) {
	for _, row := range []struct {
		key             wildkey.Key
		shards, leading int
		want            int
	}{
		{wildkey.K("123456789"), 1 << 30, 1, 3421780262 % (1 << 30)},
		{wildkey.K("123456789", "more"), 1_000_000, 1, 780_262},
		{wildkey.K("user", 42, "session", "abc"), 48, 1, 41},
		{wildkey.K("user", 42, "session", "abc"), 48, 2, 22},
		{wildkey.K("user", 42), 48, 5, 22},
		{wildkey.K("a b"), 7, 1, 0},
		{wildkey.K("user"), 1, 1, 0},
	} {
		if got := row.key.Shard(row.shards, row.leading); got != row.want {
			t.Errorf("%s, the first %d of %d shards: %d, want %d", row.key, row.leading, row.shards, got, row.want)
		}
	}
}

// TestShardsAsked counts the calls that a pattern takes.
func TestShardsAsked(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var calls atomic.Int64
		b.Client.AddHook(backend.Hook{Before: func([]redis.Cmder) { calls.Add(1) }})
		for _, row := range []struct {
			pattern  string
			segments int
			want     int64
		}{
			{"user:1:**", 1, 1}, {"user:1:**", 2, 1}, {"user:**", 1, 1}, {"user:**", 2, 7}, {"user:*", 2, 7},
			{"user:*", 1, 1}, {"user", 1, 1}, {"user", 2, 1}, {"user:1", 3, 1}, {"use*", 1, 7}, {"*", 1, 7}, {"**", 1, 7},
			{"*:1", 1, 7}, {"user:1:*", 3, 7}, {"user:*:1", 3, 7},
		} {
			cache := b.Cache(t, wildkey.Options{Shards: 7, ShardSegments: row.segments})
			backend.Warm(t, cache)
			before := calls.Load()
			_, err := cache.Collect(ctx, wildkey.MustParsePattern(row.pattern))
			backend.Must(t, err)
			if got := calls.Load() - before; got != row.want {
				t.Errorf("%s by %d segments asks %d shards, want %d", row.pattern, row.segments, got, row.want)
			}
		}
	})
}

// TestOnShard finds, deletes and sweeps in one shard what all shards have together.
func TestOnShard(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7, ShardSegments: 2})
		shards := map[int][]string{}
		for n := range 40 {
			key := wildkey.K("user", 10+n)
			backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
			shard := cache.Layout().Shard(key)
			shards[shard] = append(shards[shard], key.String()+"=v")
		}
		pattern := wildkey.MustParsePattern("user:*")
		for shard := range 7 {
			one := cache.OnShard(shard)
			found, err := one.Collect(ctx, pattern)
			backend.Must(t, err)
			if diff := cmp.Diff(shards[shard], backend.Entries(found)); diff != "" {
				t.Errorf("in shard %d (-want +got)\n%s", shard, diff)
			}
			b.Do(t, "DEL", cache.Layout().Prefix(shard)+strings.TrimSuffix(shards[shard][0], "=v"))
			if n, err := one.Sweep(ctx); n != 1 || err != nil {
				t.Errorf("Sweep of shard %d: %d, %v", shard, n, err)
			}
			if n, err := one.DeleteMatch(ctx, pattern); n != len(found)-1 || err != nil {
				t.Errorf("DeleteMatch in shard %d: %d, %v", shard, n, err)
			}
			if _, err := one.Count(ctx, wildkey.Pattern{}); !errors.Is(err, wildkey.ErrBadPattern) {
				t.Errorf("no pattern in shard %d: %v", shard, err)
			}
			if _, err := one.DeleteMatch(ctx, wildkey.Under(wildkey.K("user", ""))); !errors.Is(err, wildkey.ErrBadPattern) {
				t.Errorf("an invalid pattern in shard %d: %v", shard, err)
			}
		}
		if n, err := cache.Count(ctx, pattern); n != 0 || err != nil {
			t.Errorf("left: %d, %v", n, err)
		}
	})
}

// TestCrossShard: what would not be atomic is refused, and writes nothing.
func TestCrossShard(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7})
		here, there := wildkey.K("a"), wildkey.K("c")
		if here.Shard(7, 1) == there.Shard(7, 1) {
			t.Fatal("the two keys lie together")
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(here, "v")))
		dump := func() string {
			names := b.Client.Keys(ctx, "*").Val()
			slices.Sort(names)
			return fmt.Sprint(names, b.Client.PTTL(ctx, backend.Tag(cache, here)+":a").Val() > time.Hour)
		}
		before := dump()
		first := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Put":    cache.Put(ctx, backend.Rec(here, "new"), backend.Rec(there, "new")),
			"Delete": first(cache.Delete(ctx, here, there)),
			"Touch":  first(cache.Touch(ctx, 2*time.Hour, here, there)),
		} {
			if !errors.Is(err, wildkey.ErrCrossShard) || !strings.Contains(err.Error(), "{test#") {
				t.Errorf("%s: %v, want ErrCrossShard with the places", name, err)
			}
		}
		if after := dump(); after != before {
			t.Errorf("before %s, after %s", before, after)
		}
		if err := cache.Put(ctx, backend.Rec(here, "v"), backend.Rec(wildkey.K("c", ""), "v")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Put with an empty segment in another shard: %v, want ErrInvalidKey", err)
		}
	})
}

// TestShardedPages: one page is as long as its limit where records lie close
// together in one shard and where they are spread; the cursor is that of the last key.
func TestShardedPages(t *testing.T) {
	testPages := func(t *testing.T, b *backend.Backend, shards int) {
		b.Do(t, "FLUSHALL")
		cache := b.Cache(t, wildkey.Options{Shards: shards})
		for _, name := range []string{"a", "b", "c"} {
			for n := range 100 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(name, n), "v"), backend.Rec(wildkey.K(name, n, 1), "v")))
			}
		}
		pattern := wildkey.MustParsePattern("**")
		var sizes []int
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := cache.Page(ctx, pattern, wildkey.PageOptions{Cursor: cursor, Limit: 130})
			backend.Must(t, err)
			sizes = append(sizes, len(page.Entries))
			cursor = page.Cursor
		}
		if diff := cmp.Diff([]int{130, 130, 130, 130, 80}, sizes); diff != "" {
			t.Errorf("pages (-want +got)\n%s", diff)
		}
		for _, limit := range []int{-1, 100_000} {
			if _, err := cache.Page(ctx, pattern, wildkey.PageOptions{Limit: limit}); !errors.Is(err, wildkey.ErrBadArgument) {
				t.Errorf("Page with a limit of %d: %v", limit, err)
			}
		}
		if _, err := cache.Page(ctx, wildkey.MustParsePattern("b*:**"), wildkey.PageOptions{Cursor: "(a:1"}); !errors.Is(err, wildkey.ErrBadArgument) {
			t.Errorf("Page with the cursor of another pattern: %v", err)
		}
	}
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 7, 48} {
			t.Run(fmt.Sprint(shards), func(t *testing.T) { testPages(t, b, shards) })
		}
	})
}

// TestNothingRunsBetweenMatches: when a caller has a match in hand, and when it
// has stopped, no goroutine of the walk is left, and no command under way.
func TestNothingRunsBetweenMatches(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		var underWay, sent atomic.Int64
		b.Client.AddHook(backend.Hook{
			Before: func([]redis.Cmder) { underWay.Add(1); sent.Add(1) },
			After:  func([]redis.Cmder) { underWay.Add(-1) },
		})
		cache := b.Cache(t, wildkey.Options{Shards: 48, PageLimit: 10})
		for n := range 300 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
		}
		idle := func() {
			t.Helper()
			if n := underWay.Load(); n != 0 {
				t.Errorf("%d commands are under way", n)
			}
			backend.NoneRunning(t, "wildkey.inParallel")
		}
		backend.Warm(t, cache)
		before, met := sent.Load(), 0
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("*")) {
			backend.Must(t, err)
			idle()
			if met++; met == 3 {
				break
			}
		}
		if idle(); met != 3 {
			t.Errorf("%d matches", met)
		}
		if n := sent.Load() - before; n > 2*48 {
			t.Errorf("three matches took %d calls to 48 shards", n)
		}
	})
}

// TestWalkIsThrifty: the first pages of many shards are small, and grow where
// the records lie together.
func TestWalkIsThrifty(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 48})
		var records []wildkey.Record
		for n := range 1000 {
			records = append(records, backend.Rec(wildkey.K(n), "v"), backend.Rec(wildkey.K("together", n), "v"))
		}
		_, err := cache.PutEach(ctx, backend.Source(records...), nil)
		backend.Must(t, err)
		var calls, limits atomic.Int64
		client := b.Hooked(t, backend.Hook{Before: func(commands []redis.Cmder) {
			calls.Add(1)
			if strings.HasPrefix(commands[0].Name(), "evalsha") {
				limits.Add(int64(commands[0].Args()[6].(int))) // EVALSHA_RO digest 1 index want cursor limit
			}
		}})
		cache = backend.Cache(t, client, wildkey.Options{Shards: 48})
		backend.Warm(t, cache)
		limits.Store(0)
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("*")) {
			backend.Must(t, err)
			break
		}
		if n := limits.Load(); n > 48*(8+2*500/48) {
			t.Errorf("one match asks for up to %d", n)
		}
		calls.Store(0)
		found, err := cache.Collect(ctx, wildkey.MustParsePattern("t*:**"))
		backend.Must(t, err)
		if n := calls.Load(); len(found) != 1000 || n > 48+6 { // 28, 56, 112, 224, 448 and the rest
			t.Errorf("%d records that lie together take %d calls", len(found), n)
		}
	})
}

// TestShardedPageEndsAtItsBytes, or with one record that has more; its cursor is of
// the last record.
func TestShardedPageEndsAtItsBytes(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7, CallBytes: 100})
		sizes := []int{30, 30, 30, 99, 500, 1, 97, 96}
		for n, size := range sizes {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), strings.Repeat("v", size))))
		}
		var pages []string
		for options := (wildkey.PageOptions{}); ; {
			page, err := cache.Page(ctx, wildkey.MustParsePattern("*"), options)
			backend.Must(t, err)
			text := ""
			for _, entry := range page.Entries {
				text += entry.Key.String()
				if n := len(entry.Value); n != sizes[entry.Key.String()[0]-'0'] {
					t.Errorf("%s has %d bytes", entry.Key, n)
				}
			}
			pages = append(pages, text)
			if options.Cursor = page.Cursor; options.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff([]string{"012", "3", "4", "56", "7"}, pages); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestOneShardEndsTheOthers holds seven shards back until one has failed.
func TestOneShardEndsTheOthers(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		options := wildkey.Options{Shards: 7, PageReads: 1}
		cache := b.Cache(t, options)
		for n := range 400 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
		}
		index := backend.Tag(cache, wildkey.K(1)) + "/keys"
		b.Do(t, "SET", index, "foreign")
		failed, holding, calls := make(chan struct{}), false, atomic.Int64{}
		fails := func(commands []redis.Cmder) bool { return commands[0].Args()[3] == index }
		client := b.Hooked(t, backend.Hook{
			Before: func(commands []redis.Cmder) {
				if calls.Add(1); holding && !fails(commands) {
					<-failed
				}
			},
			After: func(commands []redis.Cmder) {
				if holding && fails(commands) {
					close(failed)
				}
			},
		})
		cache = backend.Cache(t, client, options)
		backend.Warm(t, cache)
		calls.Store(0)
		holding = true
		if _, err := cache.Count(ctx, wildkey.MustParsePattern("*")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("Count: %v, want WRONGTYPE", err)
		}
		if n := calls.Load(); n > 100 {
			t.Errorf("%d calls, and the first has failed", n)
		}
	})
}

// TestOneShardFails: the error of one shard ends the calls that ask all.
func TestOneShardFails(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7})
		for n := range 50 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
		}
		b.Do(t, "SET", backend.Tag(cache, wildkey.K(3))+"/keys", "foreign")
		everything := wildkey.MustParsePattern("**")
		first := func(_ any, err error) error { return err }
		for name, call := range map[string]func(context.Context) error{
			"Collect":     func(ctx context.Context) error { return first(cache.Collect(ctx, everything)) },
			"Page":        func(ctx context.Context) error { return first(cache.Page(ctx, everything, wildkey.PageOptions{})) },
			"Count":       func(ctx context.Context) error { return first(cache.Count(ctx, everything)) },
			"TouchMatch":  func(ctx context.Context) error { return first(cache.TouchMatch(ctx, time.Hour, everything)) },
			"Sweep":       func(ctx context.Context) error { return first(cache.Sweep(ctx)) },
			"DeleteMatch": func(ctx context.Context) error { return first(cache.DeleteMatch(ctx, everything)) },
		} {
			canceled, cancel := context.WithCancel(ctx)
			cancel()
			if err := call(canceled); !errors.Is(err, context.Canceled) {
				t.Errorf("%s with a canceled context: %v", name, err)
			}
			if err := call(ctx); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("%s: %v, want WRONGTYPE", name, err)
			}
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := cache.GetMany(canceled, wildkey.K(1), wildkey.K(2)); !errors.Is(err, context.Canceled) {
			t.Errorf("GetMany with a canceled context: %v", err)
		}
	})
}
