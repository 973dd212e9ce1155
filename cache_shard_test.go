package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// onShards runs a test with several numbers of shards, chosen by one and by two segments.
func onShards(t *testing.T, test func(t *testing.T, b *backend, options wildkey.Options)) {
	onBackends(t, func(t *testing.T, b *backend) {
		for _, shards := range []int{1, 2, 7, 48} {
			for _, segments := range []int{1, 2} {
				t.Run(fmt.Sprintf("%d by %d", shards, segments), func(t *testing.T) {
					b.do(t, "FLUSHALL")
					test(t, b, wildkey.Options{Shards: shards, ShardSegments: segments})
					b.checkInvariant(t)
				})
			}
		}
	})
}

// warm has the cache load its scripts, and find out whether the server knows
// EVALSHA_RO, so that a test can count calls.
func warm(t *testing.T, cache *wildkey.Cache) {
	t.Helper()
	must(t, cache.Load(ctx))
	_, err := cache.Count(ctx, wildkey.MustParsePattern("none:none:none"))
	must(t, err)
}

// tagOf returns the hash tag of a key in the namespace "test".
func tagOf(key wildkey.Key, options wildkey.Options) string {
	if options.Shards == 1 {
		return "{test}"
	}
	return fmt.Sprintf("{test#%d}", key.Shard(options.Shards, options.ShardSegments))
}

// TestShardedVerbs holds every verb against a map.
func TestShardedVerbs(t *testing.T) {
	onShards(t, func(t *testing.T, b *backend, options wildkey.Options) { testVerbs(t, b.client, options) })
}

// TestShardsAsked counts the calls that a pattern takes.
func TestShardsAsked(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		var calls atomic.Int64
		b.client.AddHook(hook{before: func([]redis.Cmder) { calls.Add(1) }})
		for _, row := range []struct {
			pattern  string
			segments int
			want     int64
		}{
			{"user:1:**", 1, 1}, {"user:1:**", 2, 1}, {"user:**", 1, 1}, {"user:**", 2, 7}, {"user:*", 2, 7},
			{"user:*", 1, 1}, {"user", 1, 1}, {"user", 2, 1}, {"user:1", 3, 1}, {"use*", 1, 7}, {"*", 1, 7}, {"**", 1, 7},
			{"*:1", 1, 7}, {"user:1:*", 3, 7}, {"user:*:1", 3, 7},
		} {
			cache := b.cache(t, wildkey.Options{Shards: 7, ShardSegments: row.segments})
			warm(t, cache)
			before := calls.Load()
			_, err := cache.All(ctx, wildkey.MustParsePattern(row.pattern))
			must(t, err)
			if got := calls.Load() - before; got != row.want {
				t.Errorf("%s by %d segments asks %d shards, want %d", row.pattern, row.segments, got, row.want)
			}
		}
	})
}

// TestCrossShard: what would not be atomic is refused, and writes nothing.
func TestCrossShard(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{Shards: 7})
		here, there := wildkey.K("a"), wildkey.K("c")
		if here.Shard(7, 1) == there.Shard(7, 1) {
			t.Fatal("the two keys lie together")
		}
		must(t, cache.Put(ctx, rec(here, "v")))
		dump := func() string {
			names := b.client.Keys(ctx, "*").Val()
			slices.Sort(names)
			return fmt.Sprint(names, b.client.PTTL(ctx, tagOf(here, wildkey.Options{Shards: 7, ShardSegments: 1})+":a").Val() > time.Hour)
		}
		before := dump()
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		first := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Put":           cache.Put(ctx, rec(here, "new"), rec(there, "new")),
			"Delete":        first(cache.Delete(ctx, here, there)),
			"Touch":         first(cache.Touch(ctx, 2*time.Hour, here, there)),
			"Writer.Put":    w.Put(ctx, rec(here, "new"), rec(there, "new")),
			"Writer.Delete": w.Delete(ctx, here, there),
		} {
			if !errors.Is(err, wildkey.ErrCrossShard) || !strings.Contains(err.Error(), "{test#") {
				t.Errorf("%s: %v, want ErrCrossShard with the places", name, err)
			}
		}
		must(t, w.Close())
		if after := dump(); after != before {
			t.Errorf("before %s, after %s", before, after)
		}
		if err := cache.Put(ctx, rec(here, "v"), rec(wildkey.K("c", ""), "v")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Put with an empty segment in another shard: %v, want ErrInvalidKey", err)
		}
	})
}

// TestShardedPages: one page is as long as its limit where records lie close
// together in one shard and where they are spread; the cursor is that of the last key.
func TestShardedPages(t *testing.T) {
	onShards(t, func(t *testing.T, b *backend, options wildkey.Options) {
		cache := b.cache(t, options)
		for _, name := range []string{"a", "b", "c"} {
			for n := range 100 {
				must(t, cache.Put(ctx, rec(wildkey.K(name, n), "v"), rec(wildkey.K(name, n, 1), "v")))
			}
		}
		pattern := wildkey.MustParsePattern("**")
		var sizes []int
		for cursor, more := "", true; more; more = cursor != "" {
			page, err := cache.Page(ctx, pattern, cursor, 130)
			must(t, err)
			sizes = append(sizes, len(page.Entries))
			cursor = page.Cursor
		}
		if diff := cmp.Diff([]int{130, 130, 130, 130, 80}, sizes); diff != "" {
			t.Errorf("pages (-want +got)\n%s", diff)
		}
		for _, limit := range []int{-1, 100_000} {
			if _, err := cache.Page(ctx, pattern, "", limit); !errors.Is(err, wildkey.ErrBadArgument) {
				t.Errorf("Page with a limit of %d: %v", limit, err)
			}
		}
		if _, err := cache.Page(ctx, wildkey.MustParsePattern("b*:**"), "(a:1", 0); !errors.Is(err, wildkey.ErrBadArgument) {
			t.Errorf("Page with the cursor of another pattern: %v", err)
		}
	})
}

// TestNothingRunsBetweenMatches: when a caller has a match in hand, and when it
// has stopped, no goroutine of the walk is left, and no command under way.
func TestNothingRunsBetweenMatches(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		var underWay, sent atomic.Int64
		b.client.AddHook(hook{
			before: func([]redis.Cmder) { underWay.Add(1); sent.Add(1) },
			after:  func([]redis.Cmder) { underWay.Add(-1) },
		})
		cache := b.cache(t, wildkey.Options{Shards: 48, PageLimit: 10})
		for n := range 300 {
			must(t, cache.Put(ctx, rec(wildkey.K(n), "v")))
		}
		idle := func() {
			t.Helper()
			if n := underWay.Load(); n != 0 {
				t.Errorf("%d commands are under way", n)
			}
			// Who waits for a goroutine goes on when it is about to end.
			stacks := ""
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				var dump strings.Builder
				must(t, pprof.Lookup("goroutine").WriteTo(&dump, 2))
				if stacks = dump.String(); !strings.Contains(stacks, "wildkey.inParallel") {
					return
				}
			}
			t.Errorf("goroutines are left:\n%s", stacks)
		}
		warm(t, cache)
		before, met := sent.Load(), 0
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("*")) {
			must(t, err)
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
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{Shards: 48})
		var records []wildkey.Record
		for n := range 1000 {
			records = append(records, rec(wildkey.K(n), "v"), rec(wildkey.K("together", n), "v"))
		}
		_, err := cache.PutEach(ctx, slices.Values(records), nil)
		must(t, err)
		var calls, limits atomic.Int64
		client := hookedClient(t, b, hook{before: func(commands []redis.Cmder) {
			calls.Add(1)
			if strings.HasPrefix(commands[0].Name(), "evalsha") {
				limits.Add(int64(commands[0].Args()[7].(int))) // EVALSHA_RO digest 2 order expiry want cursor limit
			}
		}})
		cache = newCacheOn(t, client, wildkey.Options{Shards: 48})
		warm(t, cache)
		limits.Store(0)
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("*")) {
			must(t, err)
			break
		}
		if n := limits.Load(); n > 48*(8+2*500/48) {
			t.Errorf("one match asks for up to %d", n)
		}
		calls.Store(0)
		found, err := cache.All(ctx, wildkey.MustParsePattern("t*:**"))
		must(t, err)
		if n := calls.Load(); len(found) != 1000 || n > 48+6 { // 28, 56, 112, 224, 448 and the rest
			t.Errorf("%d records that lie together take %d calls", len(found), n)
		}
	})
}

// TestShardedPageEndsShort, as one of one shard does, when its reads are used up.
func TestShardedPageEndsShort(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		options := wildkey.Options{Shards: 7, PageReads: 10}
		cache := b.cache(t, options)
		for n := range 200 {
			must(t, cache.Put(ctx, rec(wildkey.K(n), "v")))
		}
		must(t, cache.Put(ctx, rec(wildkey.K("last", "x"), "v")))
		var calls atomic.Int64
		cache = newCacheOn(t, hookedClient(t, b, hook{before: func([]redis.Cmder) { calls.Add(1) }}), options)
		warm(t, cache)
		calls.Store(0)
		page, err := cache.Page(ctx, wildkey.MustParsePattern("*:*"), "", 0)
		if n := calls.Load(); n != 7 || len(page.Entries) != 0 || page.Cursor == "" || err != nil {
			t.Errorf("the first page takes %d calls: %+v, %v", n, page, err)
		}
		page, err = cache.Page(ctx, wildkey.MustParsePattern("l*:*"), "", 0)
		if len(page.Entries) != 1 || page.Cursor != "" || err != nil {
			t.Errorf("the last page: %+v, %v", page, err)
		}
	})
}

// TestOneShardEndsTheOthers holds seven shards back until one has failed.
func TestOneShardEndsTheOthers(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		options := wildkey.Options{Shards: 7, ShardSegments: 1, PageReads: 1}
		cache := b.cache(t, options)
		for n := range 400 {
			must(t, cache.Put(ctx, rec(wildkey.K(n), "v")))
		}
		order := tagOf(wildkey.K(1), options) + "/keys"
		b.do(t, "DEL", order)
		b.do(t, "SET", order, "foreign")
		failed, holding, calls := make(chan struct{}), false, atomic.Int64{}
		fails := func(commands []redis.Cmder) bool { return commands[0].Args()[3] == order }
		client := hookedClient(t, b, hook{
			before: func(commands []redis.Cmder) {
				if calls.Add(1); holding && !fails(commands) {
					<-failed
				}
			},
			after: func(commands []redis.Cmder) {
				if holding && fails(commands) {
					close(failed)
				}
			},
		})
		cache = newCacheOn(t, client, options)
		warm(t, cache)
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
	onBackends(t, func(t *testing.T, b *backend) {
		options := wildkey.Options{Shards: 7, ShardSegments: 1}
		cache := b.cache(t, options)
		for n := range 50 {
			must(t, cache.Put(ctx, rec(wildkey.K(n), "v")))
		}
		tag := tagOf(wildkey.K(3), options)
		b.do(t, "DEL", tag+"/keys")
		b.do(t, "SET", tag+"/keys", "foreign")
		everything := wildkey.MustParsePattern("**")
		first := func(_ any, err error) error { return err }
		for name, call := range map[string]func(context.Context) error{
			"All":         func(ctx context.Context) error { return first(cache.All(ctx, everything)) },
			"Page":        func(ctx context.Context) error { return first(cache.Page(ctx, everything, "", 0)) },
			"Count":       func(ctx context.Context) error { return first(cache.Count(ctx, everything)) },
			"TouchMatch":  func(ctx context.Context) error { return first(cache.TouchMatch(ctx, 0, everything)) },
			"Sweep":       func(ctx context.Context) error { return first(cache.Sweep(ctx)) },
			"Reindex":     func(ctx context.Context) error { return first(cache.Reindex(ctx)) },
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

func TestShardOptions(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		for _, options := range []wildkey.Options{{Shards: -1}, {Shards: 16_385}, {ShardSegments: -1}} {
			if _, err := wildkey.New(b.client, options); err == nil {
				t.Errorf("New with %+v: no error", options)
			}
		}
	})
}

// TestWriterOnShards: merging and order are those of each shard.
func TestWriterOnShards(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{Shards: 7, MaxRecords: 3})
		must(t, cache.Load(ctx))
		a, c := func(n int) wildkey.Key { return wildkey.K("a", n) }, func(n int) wildkey.Key { return wildkey.K("c", n) }
		if a(0).Shard(7, 1) == c(0).Shard(7, 1) {
			t.Fatal("the two lie together")
		}
		g := newGate(b.client)
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		must(t, w.Put(ctx, rec(a(0), "first")))
		<-g.entered
		must(t, w.Put(ctx, rec(a(1), "1"))) // these go as one call for each shard
		must(t, w.Delete(ctx, c(9), c(8)))
		must(t, w.Put(ctx, rec(a(0), "second")))
		must(t, w.Delete(ctx, c(7)))
		must(t, w.Put(ctx, rec(a(2), "2")))
		must(t, w.Put(ctx, rec(c(7), "7"))) // behind the deletes; the next two merge with others of their shards
		must(t, w.Put(ctx, rec(a(3), "3")))
		must(t, w.Put(ctx, rec(c(8), "8")))
		waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := w.Flush(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush behind a closed gate: %v", err)
		}
		must(t, w.Put(ctx, rec(a(4), "4"))) // behind the Flush that nobody awaits
		close(g.open)
		must(t, w.Flush(ctx))
		must(t, w.Close())
		wantAll(t, cache, "**", "a:0=second", "a:1=1", "a:2=2", "a:3=3", "a:4=4", "c:7=7", "c:8=8")
		slices.Sort(g.calls[1:3])
		slices.Sort(g.calls[3:5])
		if diff := cmp.Diff("put 1, delete 3, put 3, put 1, put 2, put 1", strings.Join(g.calls, ", ")); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
	})
}

// TestGetAllocates no more than two things beyond what go-redis does.
func TestGetAllocates(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		cache, key := b.cache(t, wildkey.Options{}), wildkey.K("user", 42, "session", "abc")
		must(t, cache.Put(ctx, rec(key, "v")))
		raw := testing.AllocsPerRun(100, func() { b.client.Get(ctx, "{test}:user:42:session:abc") })
		got := testing.AllocsPerRun(100, func() { _, _ = cache.Get(ctx, key) })
		if got > raw+2 {
			t.Errorf("Get allocates %v times, GET itself %v", got, raw)
		}
	})
}
