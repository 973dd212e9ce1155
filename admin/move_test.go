package admin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

var (
	ctx        = context.Background()
	everything = wildkey.MustParsePattern("**")
)

var moves = []struct {
	name     string
	from, to wildkey.Options
}{
	{"1 to 12", wildkey.Options{}, wildkey.Options{Shards: 12, ShardSegments: 2}},
	{"12 to 1", wildkey.Options{Shards: 12, PageLimit: 3}, wildkey.Options{CallRecords: 2}},
	{"4 to 7", wildkey.Options{Shards: 4}, wildkey.Options{Shards: 7}},
	{"7 to 4", wildkey.Options{Shards: 7}, wildkey.Options{Shards: 4}},
	{"4 by one segment to 4 by two", wildkey.Options{Shards: 4}, wildkey.Options{Shards: 4, ShardSegments: 2}},
	{"one namespace to another", wildkey.Options{PageReads: 7}, wildkey.Options{Namespace: "other"}},
}

func onMoves(t *testing.T, test func(t *testing.T, b *backend.Backend, from, to wildkey.Options)) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, move := range moves {
			t.Run(move.name, func(t *testing.T) {
				b.Do(t, "FLUSHALL")
				test(t, b, move.from, move.to)
				b.CheckInvariant(t)
			})
		}
	})
}

// wantGone expects no Redis key of the namespace, not even an index.
func wantGone(t *testing.T, b *backend.Backend, cache *wildkey.Cache) {
	t.Helper()
	for shard := range cache.Layout().Shards() {
		if names := b.Client.Keys(ctx, cache.Layout().Tag(shard)+"*").Val(); len(names) > 0 {
			t.Errorf("%q are left", names)
		}
	}
}

// TestMoveWhileReadersRead looks at every record before and after each round
// trip of the move, as its comment tells readers to, while writers write.
func TestMoveWhileReadersRead(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		from, to := b.Cache(t, unbounded(fromOptions)), b.Cache(t, unbounded(toOptions))
		want, expiries := map[string]string{}, map[string]int64{}
		var keys []wildkey.Key
		for n := range 40 {
			record := backend.Rec(wildkey.K("user", n%9, n), fmt.Sprint(n))
			switch n % 3 {
			case 1:
				record.TTL = wildkey.NoExpiry
			case 2:
				record.TTL = time.Hour + time.Duration(n)*time.Minute + 7*time.Millisecond
			}
			backend.Must(t, from.Put(ctx, record))
			keys = append(keys, record.Key)
			want[record.Key.String()] = fmt.Sprint(n)
		}
		expiry := func(key wildkey.Key) int64 {
			names := b.Client.Keys(ctx, "{*}:"+key.String()).Val()
			if len(names) != 1 {
				t.Fatalf("%s is in %q", key, names)
			}
			ms, _ := backend.ExpiresAt(t, b.Client, names[0])
			return ms
		}
		for _, key := range keys {
			expiries[key.String()] = expiry(key)
		}
		backend.Must(t, to.Put(ctx, backend.Rec(keys[0], "newer")))
		want[keys[0].String()] = "newer"
		passing := wildkey.Record{Key: wildkey.K("gone"), TTL: time.Millisecond}
		backend.Must(t, from.Put(ctx, passing))
		b.Pass(5 * time.Millisecond)

		var mu sync.Mutex
		looks, newer := 0, 0
		look := func([]redis.Cmder) {
			mu.Lock()
			defer mu.Unlock()
			looks++
			found := map[string]string{}
			for _, cache := range []*wildkey.Cache{from, to} {
				values, err := cache.GetMany(ctx, keys...)
				backend.Must(t, err)
				for i, value := range values {
					if value != nil {
						found[keys[i].String()] = string(value)
					}
				}
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("GetMany at look %d (-want +found)\n%s", looks, diff)
			}
			clear(found)
			for _, cache := range []*wildkey.Cache{from, to} {
				all, err := cache.Collect(ctx, everything)
				backend.Must(t, err)
				for _, entry := range all {
					found[entry.Key.String()] = string(entry.Value)
				}
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("Collect at look %d (-want +found)\n%s", looks, diff)
			}
			if looks%4 == 1 && newer < len(keys) {
				backend.Must(t, to.Put(ctx, backend.Rec(keys[newer], "written meanwhile")))
				want[keys[newer].String()] = "written meanwhile"
				delete(expiries, keys[newer].String())
				newer += 7
			}
		}
		mover := b.Hooked(t, backend.Hook{Before: look, After: look})
		started := time.Now()
		moved, err := admin.Move(ctx, backend.Cache(t, mover, fromOptions), backend.Cache(t, mover, toOptions))
		took := time.Since(started).Milliseconds()
		if moved != len(keys) || err != nil {
			t.Errorf("Move: %d, %v, want %d", moved, err, len(keys))
		}
		if looks < 6 || newer < 7 {
			t.Errorf("%d looks, %d newer", looks, newer)
		}
		values, err := to.GetMany(ctx, keys...)
		backend.Must(t, err)
		for i, key := range keys {
			if string(values[i]) != want[key.String()] {
				t.Errorf("after the move %s is %q, want %q", key, values[i], want[key.String()])
			}
			before, unchanged := expiries[key.String()]
			if after := expiry(key); unchanged && key.String() != keys[0].String() && (after < before || after > before+took+1 || (before == -1) != (after == -1)) {
				t.Errorf("%s expires at %d, before the move at %d", key, after, before)
			}
		}
		wantGone(t, b, from)
		if moved, err := admin.Move(ctx, from, to); moved != 0 || err != nil {
			t.Errorf("Move again: %d, %v", moved, err)
		}
	})
}

// unbounded leaves the bounds to those who move.
func unbounded(options wildkey.Options) wildkey.Options {
	options.CallRecords, options.PageLimit, options.PageReads = 0, 0, 0
	return options
}

// TestMoveGoesOn after any one of its script calls has failed.
func TestMoveGoesOn(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		stopped := errors.New("stopped")
		want := []string{}
		for n := range 12 {
			want = append(want, fmt.Sprintf("%02d=v", n))
		}
		from, to := b.Cache(t, fromOptions), b.Cache(t, toOptions)
		backend.Must(t, from.Load(ctx))
		for stopAt, failed := 1, true; failed; stopAt++ {
			b.Do(t, "FLUSHDB")
			for n := range 12 {
				backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K(fmt.Sprintf("%02d", n)), "v")))
			}
			var mu sync.Mutex
			calls := 0
			client := b.NewClient(t, func(*redis.Options) {})
			client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
				mu.Lock()
				defer mu.Unlock()
				if !strings.HasPrefix(cmd.Name(), "evalsha") {
					return nil
				}
				if calls++; calls == stopAt {
					return stopped
				}
				return nil
			}))
			_, err := admin.Move(ctx, backend.Cache(t, client, fromOptions), backend.Cache(t, client, toOptions))
			if failed = calls >= stopAt; errors.Is(err, stopped) != failed || !failed && err != nil {
				t.Fatalf("stopped at call %d of %d: %v", stopAt, calls, err)
			}
			if _, err := admin.Move(ctx, from, to); err != nil {
				t.Fatalf("Move after a stop at call %d: %v", stopAt, err)
			}
			found, err := to.Collect(ctx, everything)
			backend.Must(t, err)
			if diff := cmp.Diff(want, backend.Entries(found)); diff != "" {
				t.Errorf("after a stop at call %d (-want +got)\n%s", stopAt, diff)
			}
			if wantGone(t, b, from); t.Failed() {
				t.Fatalf("after a stop at call %d", stopAt)
			}
			if stopAt > 500 {
				t.Fatal("Move never ends")
			}
			client.Close()
		}
	})
}

// TestMoveLeavesNoIndex, although entries in it were stale or foreign before, and
// pages of the Cache leave those.
func TestMoveLeavesNoIndex(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		for _, leaveStale := range []bool{false, true} {
			fromOptions.LeaveStale = leaveStale
			from, to := b.Cache(t, fromOptions), b.Cache(t, toOptions)
			layout, want := from.Layout(), 0
			for n := range 50 {
				key := wildkey.K(n)
				backend.Must(t, from.Put(ctx, backend.Rec(key, "v")))
				if n%3 == 0 {
					name, err := layout.Record(key)
					backend.Must(t, err)
					b.Do(t, "UNLINK", name)
				} else {
					want++
				}
			}
			for shard := range layout.Shards() {
				b.Do(t, "ZADD", layout.Index(shard), 0, "", 0, "not a key")
			}
			if n, err := admin.Move(ctx, from, to); n != want || err != nil {
				t.Errorf("Move: %d, %v, want %d", n, err, want)
			}
			wantGone(t, b, from)
			if n, err := to.DeleteMatch(ctx, everything); n != want || err != nil {
				t.Errorf("DeleteMatch of what was moved: %d, %v, want %d", n, err, want)
			}
		}
	})
}

// TestMoveLeavesLongTTLs: a record that would live shorter stays, with all of its TTL,
// and the others move.
func TestMoveLeavesLongTTLs(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		from, to, key := b.Cache(t, fromOptions), b.Cache(t, toOptions), wildkey.K("b")
		backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K("a"), "1")))
		backend.Must(t, from.Put(ctx, backend.Rec(key, "2")))
		backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K("c"), "3")))
		name, err := from.Layout().Record(key)
		backend.Must(t, err)
		const years400, years399 = 400 * 365 * 86_400_000, 399 * 365 * 86_400_000
		b.Do(t, "PEXPIRE", name, years400)
		if n, err := admin.Move(ctx, from, to); n != 2 || err == nil || !strings.Contains(err.Error(), "Move: b has more than 292 years") {
			t.Errorf("Move: %d, %v", n, err)
		}
		backend.WantAll(t, from, "**", "b=2")
		backend.WantAll(t, to, "**", "a=1", "c=3")
		if left := b.Do(t, "PTTL", name).(int64); left < years399 {
			t.Errorf("%d ms are left of %d", left, int64(years400))
		}
		_, err = from.Touch(ctx, time.Hour, key)
		backend.Must(t, err)
		if n, err := admin.Move(ctx, from, to); n != 1 || err != nil {
			t.Errorf("Move, once it is touched: %d, %v", n, err)
		}
		wantGone(t, b, from)
	})
}

// TestMoveToAForeignKey: a record whose place holds no record stays, and the others move.
func TestMoveToAForeignKey(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		from, to, key := b.Cache(t, fromOptions), b.Cache(t, toOptions), wildkey.K("b")
		backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K("a"), "1")))
		backend.Must(t, from.Put(ctx, backend.Rec(key, "2")))
		name, err := to.Layout().Record(key)
		backend.Must(t, err)
		b.Do(t, "HSET", name, "field", "v")
		if n, err := admin.Move(ctx, from, to); n != 1 || err == nil || !strings.Contains(err.Error(), name+" is no record") {
			t.Errorf("Move: %d, %v", n, err)
		}
		backend.WantAll(t, from, "**", "b=2")
		backend.WantAll(t, to, "**", "a=1")
		b.Do(t, "DEL", name)
		if n, err := admin.Move(ctx, from, to); n != 1 || err != nil {
			t.Errorf("Move, once it is deleted: %d, %v", n, err)
		}
		wantGone(t, b, from)
	})
}

// TestMoveToAFullServer moves nothing, tells why and loses nothing.
func TestMoveToAFullServer(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		from, to := b.Cache(t, wildkey.Options{}), b.Cache(t, wildkey.Options{Shards: 7})
		backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K("a"), "1"), backend.Rec(wildkey.K("b"), "2")))
		b.LimitMemory(t, "1")
		if n, err := admin.Move(ctx, from, to); n != 0 || !redis.IsOOMError(err) {
			t.Errorf("Move: %d, %v", n, err)
		}
		b.LimitMemory(t, "0")
		backend.WantAll(t, from, "**", "a=1", "b=2")
		backend.WantAll(t, to, "**")
	})
}

// TestMoveNeedsOtherTags: within one tag a copy and its original are one record.
func TestMoveNeedsOtherTags(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, row := range []struct{ from, to wildkey.Options }{
			{wildkey.Options{}, wildkey.Options{}},
			{wildkey.Options{ShardSegments: 2}, wildkey.Options{}},
			{wildkey.Options{Shards: 4}, wildkey.Options{Shards: 4, PageLimit: 7}},
			{wildkey.Options{Shards: 4, ShardSegments: 2}, wildkey.Options{Shards: 4, ShardSegments: 2}},
		} {
			from, to := b.Cache(t, row.from), b.Cache(t, row.to)
			backend.Must(t, from.Put(ctx, backend.Rec(wildkey.K("a", "b"), "v")))
			before := corpus.Dump(t, b.Client, 0)
			if n, err := admin.Move(ctx, from, to); n != 0 || err == nil || !strings.Contains(err.Error(), from.Layout().Tag(0)) {
				t.Errorf("from %+v to %+v: %d, %v", row.from, row.to, n, err)
			}
			if diff := cmp.Diff(before, corpus.Dump(t, b.Client, 0)); diff != "" {
				t.Errorf("something was written (-before +after)\n%s", diff)
			}
		}
	})
}
