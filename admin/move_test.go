package admin_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

var moves = []struct{ from, to wildkey.Options }{
	{wildkey.Options{Shards: 1}, wildkey.Options{Shards: 12, ShardSegments: 2}},
	{wildkey.Options{Shards: 12, PageLimit: 3}, wildkey.Options{Shards: 1, CallRecords: 2}},
	{wildkey.Options{Shards: 4}, wildkey.Options{Shards: 7, Namespace: "test-7"}},
	{wildkey.Options{Shards: 1, PageReads: 7}, wildkey.Options{Shards: 1, Namespace: "other"}},
}

func onMoves(t *testing.T, test func(t *testing.T, b *backend.Backend, from, to wildkey.Options)) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, move := range moves {
			t.Run(fmt.Sprintf("%d to %d", move.from.Shards, move.to.Shards), func(t *testing.T) {
				b.Do(t, "FLUSHALL")
				test(t, b, move.from, move.to)
				b.CheckInvariant(t)
			})
		}
	})
}

// TestMoveToWhileReadersRead looks at every record before and after each round
// trip of the move, as its comment tells readers to, while writers write.
func TestMoveToWhileReadersRead(t *testing.T) {
	onMoves(t, func(t *testing.T, b *backend.Backend, fromOptions, toOptions wildkey.Options) {
		from, to := b.Cache(t, unbounded(fromOptions)), b.Cache(t, unbounded(toOptions))
		everything := wildkey.MustParsePattern("**")
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
				t.Errorf("All at look %d (-want +found)\n%s", looks, diff)
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
		moved, err := backend.Cache(t, mover, fromOptions).MoveTo(ctx, backend.Cache(t, mover, toOptions))
		took := time.Since(started).Milliseconds()
		if moved != len(keys) || err != nil {
			t.Errorf("MoveTo: %d, %v, want %d", moved, err, len(keys))
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
		if n, err := from.Count(ctx, everything); n != 0 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
		if moved, err := backend.Cache(t, mover, fromOptions).MoveTo(ctx, backend.Cache(t, mover, toOptions)); moved != 0 || err != nil {
			t.Errorf("MoveTo again: %d, %v", moved, err)
		}
	})
}

// unbounded leaves the bounds to those who move.
func unbounded(options wildkey.Options) wildkey.Options {
	options.CallRecords, options.PageLimit, options.PageReads = 0, 0, 0
	return options
}

// TestMoveToGoesOn after any one of its script calls has failed.
func TestMoveToGoesOn(t *testing.T) {
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
			_, err := backend.Cache(t, client, fromOptions).MoveTo(ctx, backend.Cache(t, client, toOptions))
			if failed = calls >= stopAt; errors.Is(err, stopped) != failed || !failed && err != nil {
				t.Fatalf("stopped at call %d of %d: %v", stopAt, calls, err)
			}
			if _, err := from.MoveTo(ctx, to); err != nil {
				t.Fatalf("MoveTo after a stop at call %d: %v", stopAt, err)
			}
			found, err := to.Collect(ctx, wildkey.MustParsePattern("**"))
			backend.Must(t, err)
			if diff := cmp.Diff(want, backend.Entries(found)); diff != "" {
				t.Errorf("after a stop at call %d (-want +got)\n%s", stopAt, diff)
			}
			if n, err := from.Count(ctx, wildkey.MustParsePattern("**")); n != 0 || err != nil {
				t.Errorf("after a stop at call %d: %d are left, %v", stopAt, n, err)
			}
			if stopAt > 500 {
				t.Fatal("MoveTo never ends")
			}
			client.Close()
		}
	})
}

// TestMoveToNeedsOtherTags: within one tag a copy and its original are one record.
func TestMoveToNeedsOtherTags(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		for _, row := range []struct{ from, to wildkey.Options }{
			{wildkey.Options{Shards: 4}, wildkey.Options{Shards: 8}},
			{wildkey.Options{Shards: 8}, wildkey.Options{Shards: 2}},
			{wildkey.Options{Shards: 2}, wildkey.Options{Shards: 2, ShardSegments: 2}},
			{wildkey.Options{}, wildkey.Options{}},
		} {
			from, to := b.Cache(t, row.from), b.Cache(t, row.to)
			key := wildkey.K("a", "b")
			backend.Must(t, from.Put(ctx, backend.Rec(key, "v")))
			names := func() []string {
				names := b.Client.Keys(ctx, "*").Val()
				slices.Sort(names)
				return names
			}
			before := names()
			if n, err := from.MoveTo(ctx, to); n != 0 || err == nil || !strings.Contains(err.Error(), "{test") {
				t.Errorf("from %d to %d shards: %d, %v", row.from.Shards, row.to.Shards, n, err)
			}
			if diff := cmp.Diff(before, names()); diff != "" {
				t.Errorf("something was written (-before +after)\n%s", diff)
			}
		}
	})
}
