package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

var ctx = context.Background()

func TestGetManyTellsEmptyFromAbsent(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("empty"), ""), backend.Rec(wildkey.K("full"), "v")))
		values, err := cache.GetMany(ctx, wildkey.K("full"), wildkey.K("absent"), wildkey.K("empty"), wildkey.K("full"))
		backend.Must(t, err)
		if diff := cmp.Diff([][]byte{[]byte("v"), nil, {}, []byte("v")}, values); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if value, err := cache.Get(ctx, wildkey.K("empty")); value == nil || len(value) != 0 || err != nil {
			t.Errorf("Get: %#v, %v, want empty and not nil", value, err)
		}
		if value, err := cache.Take(ctx, wildkey.K("empty")); value == nil || len(value) != 0 || err != nil {
			t.Errorf("Take: %#v, %v, want empty and not nil", value, err)
		}
	})
}

func TestTakeGivesTheValueOnce(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("token", "abc")
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
		var taken atomic.Int32
		done := make(chan error)
		for range 20 {
			go func() {
				value, err := cache.Take(ctx, key)
				if err == nil && string(value) == "v" {
					taken.Add(1)
				} else if err == wildkey.ErrNotFound {
					err = nil
				}
				done <- err
			}()
		}
		for range 20 {
			backend.Must(t, <-done)
		}
		if taken.Load() != 1 {
			t.Errorf("%d of 20 concurrent calls had the value", taken.Load())
		}
	})
}

func TestDeleteMatchInBatches(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 7, PageLimit: 5, PageReads: 3})
		for user := range 4 {
			for session := range 10 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", user, "session", session), "v"), backend.Rec(wildkey.K("user", user, "name", session), "v")))
			}
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*:session:**")); n != 40 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 40 || err != nil {
			t.Errorf("Count of the rest: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*:session:**")); n != 0 || err != nil {
			t.Errorf("DeleteMatch of nothing: %d, %v", n, err)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != 40 || err != nil {
			t.Errorf("DeleteMatch of all: %d, %v", n, err)
		}
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}

// TestIteration turns every bound down so far that cursors fall everywhere,
// and expects of each combination the same records in the same order.
func TestIteration(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		whole := b.Cache(t, wildkey.Options{})
		for _, encoded := range []string{"4", "4-", "4-:x", "4:a", "4:x", "4:x:a", "40", "40:x", "a", "a:x", "a:x:a", "a:x:b", "b:y", "%3A:x"} {
			key, err := wildkey.ParseKey(encoded)
			backend.Must(t, err)
			backend.Must(t, whole.Put(ctx, backend.Rec(key, strings.Repeat("v", len(encoded)))))
		}
		for _, text := range []string{"**", "*", "*:x", "*:x:**", "4:**", "4*:**", "4*:x", "a:x:*", "*:*:a", "4", "none", "*x:**", "4*:*x", "4<a:**", "*:<y", "4-<:x"} {
			pattern := wildkey.MustParsePattern(text)
			want, err := whole.Collect(ctx, pattern)
			backend.Must(t, err)
			if !slices.IsSortedFunc(want, func(a, b wildkey.Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) }) {
				t.Errorf("%s: %q is not in byte order", text, backend.Entries(want))
			}
			var wantKeys []string
			for _, entry := range want {
				wantKeys = append(wantKeys, entry.Key.String())
			}
			for _, options := range []wildkey.Options{
				{PageLimit: 1}, {PageLimit: 2}, {PageReads: 1}, {PageReads: 2}, {PageReads: 3}, {CallBytes: 1}, {CallBytes: 9}, {PageLimit: 2, PageReads: 3, CallBytes: 7},
			} {
				cache := b.Cache(t, options)
				got, err := cache.Collect(ctx, pattern)
				backend.Must(t, err)
				if diff := cmp.Diff(backend.Entries(want), backend.Entries(got)); diff != "" {
					t.Errorf("%s with %+v (-want +got)\n%s", text, options, diff)
				}
				if n, err := cache.Count(ctx, pattern); n != len(want) || err != nil {
					t.Errorf("%s with %+v: Count: %d, %v, want %d", text, options, n, err, len(want))
				}
				var keys []string
				for key, err := range cache.MatchKeys(ctx, pattern) {
					backend.Must(t, err)
					keys = append(keys, key.String())
				}
				if diff := cmp.Diff(wantKeys, keys); diff != "" {
					t.Errorf("MatchKeys of %s with %+v (-want +got)\n%s", text, options, diff)
				}
				var paged []wildkey.Entry
				for page := (wildkey.PageOptions{WithTTL: true}); ; {
					found, err := cache.Page(ctx, pattern, page)
					backend.Must(t, err)
					paged = append(paged, found.Entries...)
					if page.Cursor = found.Cursor; page.Cursor == "" {
						break
					}
				}
				if diff := cmp.Diff(backend.Entries(want), backend.Entries(paged)); diff != "" {
					t.Errorf("pages of %s with %+v (-want +got)\n%s", text, options, diff)
				}
			}
		}
	})
}

func TestIterationStopsWhenTheCallerStops(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{PageLimit: 2})
		for n := range 10 {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a", n), "v")))
		}
		backend.Warm(t, cache)
		calls := b.CountCalls()
		met := 0
		for _, err := range cache.Match(ctx, wildkey.MustParsePattern("**")) {
			backend.Must(t, err)
			if met++; met == 3 {
				break
			}
		}
		if got := calls.Load(); got != 2 {
			t.Errorf("three records, two a page, took %d round trips", got)
		}
	})
}

// TestRoundTrips holds the verbs to the round trips that their comments give.
func TestRoundTrips(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Warm(t, cache)
		calls := b.CountCalls()
		key, under := wildkey.K("user", 1, "session", "a"), wildkey.MustParsePattern("user:1:**")
		for _, verb := range []struct {
			name string
			want int64
			call func() error
		}{
			{"Put", 1, func() error {
				return cache.Put(ctx, backend.Rec(key, "1"), backend.Rec(wildkey.K("user", 1, "session", "b"), "2"))
			}},
			{"Get", 1, func() error { _, err := cache.Get(ctx, key); return err }},
			{"GetMany", 1, func() error { _, err := cache.GetMany(ctx, key, key); return err }},
			{"GetTouch", 1, func() error { _, err := cache.GetTouch(ctx, time.Hour, key); return err }},
			{"TTL", 1, func() error { _, err := cache.TTL(ctx, key); return err }},
			{"Apply", 1, func() error { _, err := cache.Apply(ctx, wildkey.OpTouch(key, time.Hour)); return err }},
			{"Touch", 1, func() error { _, err := cache.Touch(ctx, time.Hour, key); return err }},
			{"Collect", 1, func() error { _, err := cache.Collect(ctx, under); return err }},
			{"Page", 1, func() error {
				_, err := cache.Page(ctx, under, wildkey.PageOptions{WithTTL: true})
				return err
			}},
			{"Count", 1, func() error { _, err := cache.Count(ctx, under); return err }},
			{"Estimate", 1, func() error { _, err := cache.Estimate(ctx, under); return err }},
			{"List", 1, func() error {
				for _, err := range cache.List(ctx, wildkey.MustParsePattern("user:*")) {
					return err
				}
				return errors.New("it lists nothing")
			}},
			{"TouchMatch", 2, func() error { _, err := cache.TouchMatch(ctx, time.Hour, under); return err }},
			{"Take", 1, func() error { _, err := cache.Take(ctx, key); return err }},
			{"DeleteMatch", 2, func() error { _, err := cache.DeleteMatch(ctx, under); return err }},
			{"Delete", 1, func() error { _, err := cache.Delete(ctx, key); return err }},
			{"Put of nothing", 0, func() error { return cache.Put(ctx) }},
			{"Apply of nothing", 0, func() error { _, err := cache.Apply(ctx); return err }},
			{"PutEach of nothing", 0, func() error {
				_, err := cache.PutEach(ctx, backend.Source[wildkey.Record](), nil)
				return err
			}},
			{"GetMany of nothing", 0, func() error { _, err := cache.GetMany(ctx); return err }},
			{"Delete of nothing", 0, func() error { _, err := cache.Delete(ctx); return err }},
		} {
			before := calls.Load()
			if err := verb.call(); err != nil {
				t.Errorf("%s: %v", verb.name, err)
			}
			if got := calls.Load() - before; got != verb.want {
				t.Errorf("%s took %d round trips, want %d", verb.name, got, verb.want)
			}
		}
	})
}

func TestNamespacesAreApart(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		key := wildkey.K("a")
		names := []string{"x", "x:y", "{x}", "*", "x y", "é"}
		for _, name := range names {
			backend.Must(t, b.Cache(t, wildkey.Options{Namespace: name}).Put(ctx, backend.Rec(key, name)))
		}
		for _, name := range names {
			got, err := b.Cache(t, wildkey.Options{Namespace: name}).Collect(ctx, wildkey.MustParsePattern("**"))
			backend.Must(t, err)
			if diff := cmp.Diff([]string{"a=" + name}, backend.Entries(got)); diff != "" {
				t.Errorf("namespace %q (-want +got)\n%s", name, diff)
			}
		}
		if n := b.Client.Exists(ctx, "{x}:a", "{x%3Ay}:a", "{%7Bx%7D}:a", "{%2A}:a", "{x%20y}:a", "{%C3%A9}:a").Val(); n != 6 {
			t.Errorf("%d of 6 records have the names that the data model gives them", n)
		}
	})
}

// TestMatchRunsReadOnly has a user without write permission run the reading verbs.
func TestMatchRunsReadOnly(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		backend.Must(t, cache.Load(ctx))
		mayRead, evalsha, refusal := "%R~{test}*", "+evalsha_ro", "NOPERM"
		if b.LacksReadOnlyScripts() {
			// Nor are there keys that a user may only read; and the script is refused at its first write.
			mayRead, evalsha, refusal = "~{test}*", "+evalsha", "The user executing the script can't run this command"
		}
		b.Do(t, "ACL", "SETUSER", "reader", "on", ">secret", mayRead, evalsha,
			"+exists", "+mget", "+pttl", "+zrangebylex")
		reader := redis.NewClient(&redis.Options{Addr: b.Server.Addr, Username: "reader", Password: "secret"})
		defer reader.Close()
		reading, err := wildkey.New(reader, wildkey.Options{Namespace: "test", TTL: time.Hour, LeaveStale: true, Preloaded: true})
		backend.Must(t, err)
		got, err := reading.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"a=v"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a=v 1h0m0s"}, recordsOf(t, reading)); diff != "" {
			t.Errorf("with TTL (-want +got)\n%s", diff)
		}
		if n, err := reading.Count(ctx, wildkey.MustParsePattern("*")); n != 1 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if err := reading.Put(ctx, backend.Rec(wildkey.K("b"), "v")); !redis.HasErrorPrefix(err, refusal) {
			t.Errorf("Put: %v, want %s", err, refusal)
		}
	})
}

// TestForeignEntries has in the index what no Cache writes.
func TestForeignEntries(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, everything := b.Cache(t, wildkey.Options{PageLimit: 2}), wildkey.MustParsePattern("**")
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "1"), backend.Rec(wildkey.K("b"), "2"), backend.Rec(wildkey.K("gone"), "3")))
		b.Do(t, "ZADD", "{test}/keys", 0, "", 0, "not canonical", 0, "a:")
		b.Do(t, "UNLINK", "{test}:gone")
		got, err := cache.Collect(ctx, everything)
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"a=1", "b=2"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, b.Members(t)); diff != "" {
			t.Errorf("index after a walk (-want +got)\n%s", diff)
		}
		b.Do(t, "ZADD", "{test}/keys", 0, "not canonical")
		if n, err := cache.DeleteMatch(ctx, everything); n != 2 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}

		// Another score than 0 puts an entry out of byte order, where the walk may
		// miss it; but it must end, and give nothing twice.
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("b"), "1"), backend.Rec(wildkey.K("c"), "2"), backend.Rec(wildkey.K("z"), "3")))
		b.Do(t, "ZADD", "{test}/keys", 5, "b", 6, "z")
		met := 0
		for _, err := range cache.Match(ctx, everything) {
			if err != nil {
				break
			}
			if met++; met > 3 {
				t.Fatal("the walk goes round in circles")
			}
		}
		b.Do(t, "ZADD", "{test}/keys", 0, "b", 0, "z")
	})
}

// agree holds Count, Match and MatchKeys against Get of each of the keys, which are
// in order, and returns how many are live.
func agree(t *testing.T, cache *wildkey.Cache, keys []wildkey.Key) int {
	t.Helper()
	want := []string{}
	for _, key := range keys {
		value, err := cache.Get(ctx, key)
		if err == nil {
			want = append(want, key.String()+"="+string(value))
		} else if err != wildkey.ErrNotFound {
			t.Fatal(err)
		}
	}
	everything := wildkey.MustParsePattern("**")
	if n, err := cache.Count(ctx, everything); n != len(want) || err != nil {
		t.Errorf("Count: %d, %v, Get finds %d", n, err, len(want))
	}
	backend.WantAll(t, cache, "**", want...)
	n := 0
	for key, err := range cache.MatchKeys(ctx, everything) {
		backend.Must(t, err)
		if n >= len(want) || !strings.HasPrefix(want[n], key.String()+"=") {
			t.Errorf("MatchKeys has %s at %d", key, n)
		}
		n++
	}
	if n != len(want) {
		t.Errorf("MatchKeys: %d, Get finds %d", n, len(want))
	}
	return len(want)
}

// TestVerbsAgreeWithGet, whatever is done to records by hand, without a Reindex.
func TestVerbsAgreeWithGet(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// Of LeaveStale, so that no page tidies up for the next.
		cache := b.Cache(t, wildkey.Options{LeaveStale: true, PageLimit: 7})
		for _, row := range []struct {
			name string
			act  func()
			live int // of 40
		}{
			{"nothing", func() {}, 40},
			{"DEL", func() { b.Do(t, "DEL", "{test}:k:10", "{test}:k:49") }, 38},
			{"PERSIST", func() { b.Do(t, "PERSIST", "{test}:k:10") }, 40},
			{"EXPIRE", func() { b.Do(t, "EXPIRE", "{test}:k:10", 7200) }, 40},
			{"EXPIRE that ends it", func() { b.Do(t, "EXPIRE", "{test}:k:10", -1) }, 39},
			{"PEXPIRE", func() { b.Do(t, "PEXPIRE", "{test}:k:10", 1); b.Pass(10 * time.Millisecond) }, 39},
			{"SET", func() { b.Do(t, "SET", "{test}:k:10", "by hand") }, 40},
			{"SET PX", func() { b.Do(t, "SET", "{test}:k:10", "by hand", "PX", 1); b.Pass(10 * time.Millisecond) }, 39},
			{"GETEX", func() { b.Do(t, "GETEX", "{test}:k:10", "PERSIST") }, 40},
			{"GETDEL", func() { b.Do(t, "GETDEL", "{test}:k:10") }, 39},
			{"APPEND", func() { b.Do(t, "APPEND", "{test}:k:10", "more") }, 40},
			{"DEL of all", func() {
				for n := range 40 {
					b.Do(t, "DEL", fmt.Sprint("{test}:k:", 10+n))
				}
			}, 0},
		} {
			b.Do(t, "FLUSHALL")
			var keys []wildkey.Key
			var records []wildkey.Record
			for n := range 40 {
				keys = append(keys, wildkey.K("k", 10+n))
				records = append(records, backend.Rec(keys[n], "v"))
			}
			backend.Must(t, cache.Put(ctx, records...))
			row.act()
			if live := agree(t, cache, keys); live != row.live {
				t.Errorf("after %s %d are live, want %d", row.name, live, row.live)
			}
			if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != row.live || err != nil {
				t.Errorf("DeleteMatch after %s: %d, %v, want %d", row.name, n, err, row.live)
			}
			if live := agree(t, cache, keys); live != 0 {
				t.Errorf("after %s and DeleteMatch %d are live", row.name, live)
			}
			if t.Failed() {
				t.Fatalf("after %s", row.name)
			}
		}
	})
}

// TestVerbsAgreeWithGetAfterEviction has a server evict half of the records.
func TestVerbsAgreeWithGetAfterEviction(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{LeaveStale: true})
		var keys []wildkey.Key
		var records []wildkey.Record
		for n := range 1_000 {
			keys = append(keys, wildkey.K("k", 1_000+n))
			records = append(records, backend.Rec(keys[n], strings.Repeat("v", 10_000)))
		}
		_, err := cache.PutEach(ctx, backend.Source(records...), nil)
		backend.Must(t, err)
		b.LimitMemory(t, fmt.Sprint(used(t, b)-5_000_000))
		b.Do(t, "PING") // the server evicts before each command
		b.LimitMemory(t, "0")
		live := agree(t, cache, keys)
		if live == 0 || live > 900 {
			t.Errorf("%d of 1,000 records are live: the server has not evicted some", live)
		}
		if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != live || err != nil {
			t.Errorf("DeleteMatch: %d, %v, want %d", n, err, live)
		}
	}, "--maxmemory-policy", "volatile-random")
}

// used returns how much memory a server uses.
func used(t *testing.T, b *backend.Backend) (bytes int) {
	t.Helper()
	_, text, _ := strings.Cut(b.Client.Info(ctx, "memory").Val(), "used_memory:")
	if _, err := fmt.Sscan(text, &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// TestClockSetBack has records expire, the index forget their entries, and then
// the clock go back to where they would be live.
func TestClockSetBack(t *testing.T) {
	everything := wildkey.MustParsePattern("**")
	for name, forget := range map[string]func(*wildkey.Cache) error{
		"Put": func(cache *wildkey.Cache) error {
			var records []wildkey.Record
			for n := range 64 {
				records = append(records, backend.Rec(wildkey.K(10+n, "new"), "v"))
			}
			return cache.Put(ctx, records...)
		},
		"Sweep":       func(cache *wildkey.Cache) error { _, err := cache.Sweep(ctx); return err },
		"Collect":     func(cache *wildkey.Cache) error { _, err := cache.Collect(ctx, everything); return err },
		"DeleteMatch": func(cache *wildkey.Cache) error { _, err := cache.DeleteMatch(ctx, everything); return err },
		"nothing":     func(*wildkey.Cache) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache, start := b.Cache(t, wildkey.Options{}), b.Engine.Now()
				var keys []wildkey.Key
				for n := range 64 {
					key := wildkey.K(10 + n)
					backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
					keys = append(keys, key, key.Child("new"))
				}
				b.Pass(2 * time.Hour)
				backend.Must(t, forget(cache))
				for _, member := range b.Members(t) {
					if !strings.HasSuffix(member, ":new") && name != "nothing" {
						t.Errorf("%s is still in the index", member)
					}
				}
				b.Engine.SetNow(start)
				agree(t, cache, keys)
			})
		})
	}
}

func TestTTL(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("a")
		for _, row := range []struct {
			put, least, most time.Duration
		}{
			{0, 59 * time.Minute, time.Hour},
			{10*time.Second + 999*time.Microsecond, time.Second, 10 * time.Second}, // fractions are cut
			{wildkey.NoExpiry, wildkey.NoExpiry, wildkey.NoExpiry},
			{290 * 365 * 24 * time.Hour, 289 * 365 * 24 * time.Hour, 290 * 365 * 24 * time.Hour},
		} {
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: key, TTL: row.put}))
			if got, err := cache.TTL(ctx, key); got < row.least || got > row.most || err != nil {
				t.Errorf("of a record put with %v: %v, %v", row.put, got, err)
			}
			page, err := cache.Page(ctx, wildkey.Under(key), wildkey.PageOptions{WithTTL: true})
			if len(page.Entries) != 1 || page.Entries[0].TTL < row.least || page.Entries[0].TTL > row.most || err != nil {
				t.Errorf("a page of a record put with %v: %+v, %v", row.put, page, err)
			}
		}
		if _, err := cache.TTL(ctx, wildkey.K("none")); err != wildkey.ErrNotFound {
			t.Errorf("of no record: %v", err)
		}
		// More milliseconds than a Duration has: 300, 600, 900 and 30,000 years, and as far as Redis goes. Their
		// nanoseconds overflow to less than none, whole milliseconds or not, and to some.
		for _, milliseconds := range []string{
			"PX 10000000000000", "PX 19000000000000", "PX 28000000000000", "PX 999999999999999", "PXAT 9223372036854775807",
		} {
			option, number, _ := strings.Cut(milliseconds, " ")
			b.Do(t, "SET", "{test}:a", "v", option, number)
			page, err := cache.Page(ctx, wildkey.Under(key), wildkey.PageOptions{WithTTL: true})
			backend.Must(t, err)
			left, err := cache.TTL(ctx, key)
			backend.Must(t, err)
			for _, ttl := range []time.Duration{left, page.Entries[0].TTL} {
				if ttl != wildkey.MaxTTL {
					t.Errorf("of a record set with %s: %v, want %v", milliseconds, ttl, wildkey.MaxTTL)
				}
			}
		}
	})
}

// TestTTLIsAtLeastAMillisecond at the very end, where PTTL is 0.
func TestTTLIsAtLeastAMillisecond(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("a")
		backend.Must(t, cache.Put(ctx, wildkey.Record{Key: key, TTL: 2 * time.Millisecond}))
		b.Pass(2 * time.Millisecond)
		if left := b.Do(t, "PTTL", "{test}:a"); left != int64(0) {
			t.Fatalf("PTTL is %v, and should be 0 for this test", left)
		}
		if got, err := cache.TTL(ctx, key); got != time.Millisecond || err != nil {
			t.Errorf("TTL: %v, %v", got, err)
		}
		page, err := cache.Page(ctx, wildkey.Under(key), wildkey.PageOptions{WithTTL: true})
		if len(page.Entries) != 1 || page.Entries[0].TTL != time.Millisecond || err != nil {
			t.Errorf("Page: %+v, %v", page, err)
		}
		b.Pass(time.Millisecond)
		if _, err := cache.TTL(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("TTL of an expired record: %v", err)
		}
	})
}

func TestGetTouch(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("a")
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
		for _, row := range []struct {
			ttl  time.Duration
			want string
		}{
			{2 * time.Hour, "a=v 2h0m0s"},
			{3*time.Hour + 1500*time.Microsecond, "a=v 3h0m0s"},
			{wildkey.NoExpiry, "a=v never"},
			{time.Hour, "a=v 1h0m0s"},
		} {
			if value, err := cache.GetTouch(ctx, row.ttl, key); string(value) != "v" || err != nil {
				t.Errorf("GetTouch with %v: %q, %v", row.ttl, value, err)
			}
			if diff := cmp.Diff([]string{row.want}, recordsOf(t, cache)); diff != "" {
				t.Errorf("after GetTouch with %v (-want +got)\n%s", row.ttl, diff)
			}
		}
		for _, ttl := range []time.Duration{0, -1, wildkey.KeepTTL, time.Millisecond - 1} {
			if value, err := cache.GetTouch(ctx, ttl, key); !errors.Is(err, wildkey.ErrInvalidTTL) {
				t.Errorf("GetTouch with %v: %q, %v", ttl, value, err)
			}
		}
		if diff := cmp.Diff([]string{"a=v 1h0m0s"}, recordsOf(t, cache)); diff != "" {
			t.Errorf("after invalid TTLs (-want +got)\n%s", diff)
		}
		if _, err := cache.GetTouch(ctx, time.Hour, wildkey.K("none")); err != wildkey.ErrNotFound {
			t.Errorf("GetTouch of no record: %v", err)
		}
		if n := b.Client.DBSize(ctx).Val(); n != 2 {
			t.Errorf("%d Redis keys, want the record and the index", n)
		}
	})
}

// TestReadsOfMasters: only what will write, and FromMaster, call match.lua by
// EVALSHA, which go-redis sends to masters, and not by EVALSHA_RO.
func TestReadsOfMasters(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("this server has no EVALSHA_RO")
		}
		pattern, match := wildkey.MustParsePattern("*"), wildkey.Scripts()[1].SHA1
		walk := func(options ...wildkey.MatchOption) func(*wildkey.Cache) error {
			return func(cache *wildkey.Cache) error {
				for _, err := range cache.Match(ctx, pattern, options...) {
					if err != nil {
						return err
					}
				}
				return nil
			}
		}
		for _, row := range []struct {
			name string
			call func(cache *wildkey.Cache) error
			want string
		}{
			{"Match", walk(), "evalsha_ro"},
			{"Match WithTTL", walk(wildkey.WithTTL()), "evalsha_ro"},
			{"Match FromMaster", walk(wildkey.FromMaster()), "evalsha"},
			{"Match FromMaster, WithTTL", walk(wildkey.FromMaster(), wildkey.WithTTL()), "evalsha"},
			{"Collect", func(cache *wildkey.Cache) error { _, err := cache.Collect(ctx, pattern); return err }, "evalsha_ro"},
			{"Count", func(cache *wildkey.Cache) error { _, err := cache.Count(ctx, pattern); return err }, "evalsha_ro"},
			{"Page", func(cache *wildkey.Cache) error {
				_, err := cache.Page(ctx, pattern, wildkey.PageOptions{})
				return err
			}, "evalsha_ro"},
			{"TouchMatch", func(cache *wildkey.Cache) error { _, err := cache.TouchMatch(ctx, time.Hour, pattern); return err }, "evalsha"},
			{"DeleteMatch", func(cache *wildkey.Cache) error { _, err := cache.DeleteMatch(ctx, pattern); return err }, "evalsha"},
			{"Sweep", func(cache *wildkey.Cache) error { _, err := cache.Sweep(ctx); return err }, "evalsha"},
		} {
			for _, shards := range []int{1, 7} {
				var mu sync.Mutex
				sent := map[string]bool{}
				cache := backend.Cache(t, b.Hooked(t, backend.Hook{Before: func(commands []redis.Cmder) {
					mu.Lock()
					defer mu.Unlock()
					if args := commands[0].Args(); args[1] == match {
						sent[commands[0].Name()] = true
					}
				}}), wildkey.Options{Shards: shards})
				backend.Must(t, row.call(cache))
				if diff := cmp.Diff(map[string]bool{row.want: true}, sent); diff != "" {
					t.Errorf("%s of %d shards (-want +sent)\n%s", row.name, shards, diff)
				}
			}
		}
	})
}

// TestEntriesHaveATTL where it is asked for, and nowhere else.
func TestEntriesHaveATTL(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 7} {
			cache, pattern := b.Cache(t, wildkey.Options{Shards: shards}), wildkey.MustParsePattern("*")
			for n := range 10 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
			}
			for _, with := range []bool{false, true} {
				var options []wildkey.MatchOption
				if with {
					options = append(options, wildkey.WithTTL())
				}
				var entries []wildkey.Entry
				for entry, err := range cache.Match(ctx, pattern, options...) {
					backend.Must(t, err)
					entries = append(entries, entry)
				}
				page, err := cache.Page(ctx, pattern, wildkey.PageOptions{WithTTL: with})
				backend.Must(t, err)
				if entries = append(entries, page.Entries...); len(entries) != 20 {
					t.Errorf("%d entries of %d shards, want 10 of Match and 10 of Page", len(entries), shards)
				}
				for _, entry := range entries {
					if string(entry.Value) != "v" || with != (entry.TTL > 59*time.Minute) || !with && entry.TTL != 0 {
						t.Errorf("with TTL %t, of %d shards: %+v", with, shards, entry)
					}
				}
			}
		}
	})
}

// TestOptionsInForce are those given, with defaults for the others.
func TestOptionsInForce(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		given := wildkey.Options{
			Namespace: "app", TTL: wildkey.NoExpiry, Preloaded: true, LeaveStale: true, CallRecords: 1, CallBytes: 2, PageLimit: 3,
			PageReads: 4, Shards: 5, ShardSegments: 6,
		}
		defaults := wildkey.Options{
			Namespace: "cache", CallRecords: 250, CallBytes: 1 << 20, PageLimit: 500, PageReads: 1_000, Shards: 1, ShardSegments: 1,
		}
		for want, options := range map[wildkey.Options]wildkey.Options{given: given, defaults: {}} {
			cache, err := wildkey.New(b.Client, options)
			backend.Must(t, err)
			if diff := cmp.Diff(want, cache.Options()); diff != "" {
				t.Errorf("of %+v (-want +got)\n%s", options, diff)
			}
		}
	})
}

func TestStaleEntriesAreSwept(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		put := func(cache *wildkey.Cache) {
			for _, name := range []string{"a", "b", "c"} {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(name), "v")))
			}
			b.Do(t, "UNLINK", "{test}:a", "{test}:b") // as eviction does
		}
		leaving, cache := b.Cache(t, wildkey.Options{LeaveStale: true}), b.Cache(t, wildkey.Options{})
		put(leaving)
		for range 2 {
			backend.WantAll(t, leaving, "**", "c=v")
		}
		if got := b.Members(t); len(got) != 3 {
			t.Errorf("with LeaveStale the index holds %q", got)
		}
		for name, act := range map[string]func() (int, error){
			"Sweep":                 func() (int, error) { return cache.Sweep(ctx) },
			"Sweep with LeaveStale": func() (int, error) { return leaving.Sweep(ctx) },
			"Count":                 func() (int, error) { n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); return n + 1, err },
			"Collect": func() (int, error) {
				found, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
				return len(found) + 1, err
			},
		} {
			put(cache)
			if n, err := act(); n != 2 || err != nil {
				t.Errorf("%s: %d, %v", name, n, err)
			}
			if diff := cmp.Diff([]string{"c"}, b.Members(t)); diff != "" {
				t.Errorf("index after %s (-want +got)\n%s", name, diff)
			}
		}
	})
}

// TestKeysOfANamespace: it has its records and the index of each shard, whatever
// was done, and in the end nothing.
func TestKeysOfANamespace(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, shards := range []int{1, 7} {
			b.Do(t, "FLUSHALL")
			cache, everything := b.Cache(t, wildkey.Options{Shards: shards}), wildkey.MustParsePattern("**")
			want := []string{}
			for n := range 30 {
				key := wildkey.K(n)
				backend.Must(t, cache.Put(ctx, backend.Rec(key, "v"), backend.Rec(key.Child("gone"), "v")))
				name, err := cache.Layout().Record(key)
				backend.Must(t, err)
				want = append(want, name)
			}
			first := func(_ any, err error) { backend.Must(t, err) }
			first(cache.TouchMatch(ctx, wildkey.NoExpiry, everything))
			first(cache.Touch(ctx, time.Hour, wildkey.K(1), wildkey.K(1, "gone")))
			first(cache.GetTouch(ctx, time.Hour, wildkey.K(3)))
			first(cache.Take(ctx, wildkey.K(1, "gone")))
			first(cache.Delete(ctx, wildkey.K(2, "gone")))
			first(cache.DeleteMatch(ctx, wildkey.MustParsePattern("*:gone")))
			first(cache.Sweep(ctx))
			for shard := range shards {
				if n := b.Client.ZCard(ctx, cache.Layout().Index(shard)).Val(); n > 0 {
					want = append(want, cache.Layout().Index(shard))
				}
			}
			slices.Sort(want)
			got := b.Client.Keys(ctx, "*").Val()
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("of %d shards (-want +got)\n%s", shards, diff)
			}
			first(cache.DeleteMatch(ctx, everything))
			if n := b.Client.DBSize(ctx).Val(); n != 0 {
				t.Errorf("of %d shards %d Redis keys are left", shards, n)
			}
		}
	})
}

// TestLargeBatches crosses the thousand arguments that scripts unpack at once.
func TestLargeBatches(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 5_000, PageLimit: 5_000, PageReads: 5_000})
		var records []wildkey.Record
		var keys []wildkey.Key
		for n := range 2_345 {
			keys = append(keys, wildkey.K("a", n))
			records = append(records, backend.Rec(keys[n], fmt.Sprint(n)))
		}
		backend.Must(t, cache.Put(ctx, records...))
		got, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if len(got) != len(records) {
			t.Errorf("Collect: %d records, want %d", len(got), len(records))
		}
		for _, entry := range got {
			if entry.Key[1] != string(entry.Value) {
				t.Errorf("the value of %s is %q", entry.Key, entry.Value)
			}
		}
		if n, err := cache.Touch(ctx, time.Minute, keys...); n != len(keys) || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
		}
		if n, err := cache.Delete(ctx, keys...); n != len(keys) || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}

// TestGetAllocates no more than two things beyond what go-redis does: the name and the
// context with the verb.
func TestGetAllocates(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("user", 42, "session", "abc")
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
		name, err := cache.Layout().Record(key) // a constant would cost a GET less
		backend.Must(t, err)
		raw := testing.AllocsPerRun(100, func() { b.Client.Get(ctx, name) })
		got := testing.AllocsPerRun(100, func() { _, _ = cache.Get(ctx, key) })
		if got > raw+2 {
			t.Errorf("Get allocates %v times, GET itself %v", got, raw)
		}
	})
}

// TestGetManyAllocates by the number of its keys, and not of the shards.
func TestGetManyAllocates(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		bytes := func(shards int) uint64 {
			cache := b.Cache(t, wildkey.Options{Shards: shards})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 100 {
				_, err := cache.GetMany(ctx, wildkey.K("a"))
				backend.Must(t, err)
			}
			runtime.ReadMemStats(&after)
			return (after.TotalAlloc - before.TotalAlloc) / 100
		}
		if few, many := bytes(2), bytes(16_384); many > 2*few+1_000 {
			t.Errorf("GetMany of one key allocates %d bytes of 2 shards, %d of 16,384", few, many)
		}
	})
}
