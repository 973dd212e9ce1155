package reference

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/reference"
)

func TestFlawShorterTTLShortensIndex(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r := newReference(b)
		long, short := []string{"user", "1", "long"}, []string{"user", "1", "short"}
		backend.Must(t, r.Put(ctx, time.Hour, refRecord(long, "v")))
		backend.Must(t, r.Put(ctx, 50*time.Millisecond, refRecord(short, "v")))
		awaitGone(t, b, reference.EncodePath(r.Path(short)))
		wantValue(t, r, long, "v")
		wantFound(t, r, []string{"user", "1", reference.Wild})

		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", 1, "long"), "v")))
		backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("user", 1, "short"), TTL: 50 * time.Millisecond}))
		awaitGone(t, b, "{test}:user:1:short")
		backend.WantAll(t, cache, "user:1:*", "user:1:long=v")
	})
}

func TestFlawZeroTTLDestroysIndexes(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r := newReference(b)
		backend.Must(t, r.Put(ctx, time.Hour, refRecord([]string{"user", "1"}, "v")))
		if err := r.Put(ctx, 0, refRecord([]string{"user", "2"}, "v")); err == nil {
			t.Error("reference: a TTL of 0 is no error")
		}
		wantValue(t, r, []string{"user", "1"}, "v")
		wantFound(t, r, []string{"user", reference.Wild})
		wantFound(t, r, reference.Wild)

		cache, err := wildkey.New(b.Client, wildkey.Options{Namespace: "test"})
		backend.Must(t, err)
		backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("user", 1), Value: []byte("v"), TTL: time.Hour}))
		if err := cache.Put(ctx, backend.Rec(wildkey.K("user", 2), "v")); !errors.Is(err, wildkey.ErrInvalidTTL) {
			t.Errorf("a TTL of 0: %v, not ErrInvalidTTL", err)
		}
		backend.WantAll(t, cache, "user:*", "user:1=v")
		// A record that never expires is asked for by a word.
		backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K("user", 3), Value: []byte("v"), TTL: wildkey.NoExpiry}))
		backend.WantAll(t, cache, "**", "user:1=v", "user:3=v")
	})
}

func TestFlawClientClockDecidesExpiry(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r, fast := newReference(b), newReference(b)
		fast.Now = func() time.Time { return r.Now().Add(24 * time.Hour) }
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("a", "v")))
		wantFound(t, r, reference.Wild, "a=v")
		backend.Must(t, fast.Put(ctx, time.Hour, refRecord("b", "v")))
		wantValue(t, r, "a", "v")
		wantFound(t, r, reference.Wild, "b=v")
		wantFound(t, fast, reference.Wild, "b=v")

		// A Cache has no clock that could be wrong: no verb sends a time. The
		// engine's clock, besides, is years away from this process's.
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		seen := 0
		hooked := backend.Cache(t, b.Hooked(t, backend.Hook{Before: func(commands []redis.Cmder) {
			for _, command := range commands {
				seen++
				for _, arg := range command.Args() {
					text := fmt.Sprint(arg)
					if value, ok := arg.([]byte); ok {
						text = string(value)
					}
					// An instant is above 1e9, in seconds too, and no TTL here is.
					if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 1e9 {
						t.Errorf("%s sends %s", command.Name(), text)
					}
				}
			}
		}}), wildkey.Options{})
		backend.Must(t, hooked.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		backend.Must(t, hooked.Put(ctx, backend.Rec(wildkey.K("b"), "v")))
		_, err := hooked.Touch(ctx, 2*time.Hour, wildkey.K("a"))
		backend.Must(t, err)
		_, err = hooked.Count(ctx, wildkey.MustParsePattern("*"))
		backend.Must(t, err)
		_, err = hooked.Sweep(ctx)
		backend.Must(t, err)
		backend.WantAll(t, hooked, "*", "a=v", "b=v")
		if seen < 6 {
			t.Errorf("the hook saw %d commands", seen)
		}
		for key, ttl := range map[string]time.Duration{"a": 2 * time.Hour, "b": time.Hour} {
			if left := b.Client.PTTL(ctx, "{test}:"+key).Val(); left <= ttl-time.Hour || left > ttl {
				t.Errorf("%s lives for %v more, of %v", key, left, ttl)
			}
		}
	})
}

func TestFlawIdleNightPurgesAll(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		expired := 200_000
		if b.Engine != nil {
			expired = 10_000
		}
		var replies []redis.Cmder
		client := b.Hooked(t, backend.Hook{After: func(commands []redis.Cmder) { replies = append(replies, commands...) }})

		r := newReference(b)
		r.Client = client
		fillStale(t, b, expired, reference.IndexName([]string{r.Namespace}), true)
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "v")))
		if removed := replies[0].(*redis.Cmd).Val(); replies[0].Name() != "zremrangebyscore" || removed != int64(expired) {
			t.Errorf("reference: the first command of the first put, %v, removes %v", replies[0], removed)
		}
		b.Do(t, "FLUSHALL")

		cache := backend.Cache(t, client, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		fillStale(t, b, expired, "{test}/keys", false)
		stale, written := expired, 0
		put := func(n int) (dropped int) {
			t.Helper()
			var puts []wildkey.Record
			for i := range n {
				puts = append(puts, backend.Rec(wildkey.K("k", written+i), "v"))
			}
			backend.Must(t, cache.Put(ctx, puts...))
			written += n
			left := int(b.Client.ZCard(ctx, "{test}/keys").Val()) - written
			dropped, stale = stale-left, left
			return dropped
		}
		total := 0
		for _, n := range []int{1, 1, 10, 1, 250, 32, 32, 1} {
			dropped := put(n)
			if total += dropped; dropped < 0 || dropped > 1024 {
				t.Errorf("a put of %d drops %d of %d", n, dropped, stale+dropped)
			}
		}
		if total < 4*written {
			t.Errorf("%d puts drop %d stale entries", written, total)
		}

		replies = nil
		n, err := cache.Sweep(ctx)
		backend.Must(t, err)
		if n != stale {
			t.Errorf("Sweep drops %d, not %d", n, stale)
		}
		sum := 0
		for _, reply := range replies {
			// A page of match.lua is an array, and what sweep.lua has dropped a number.
			if dropped, ok := reply.(*redis.Cmd).Val().(int64); ok {
				if dropped > 1_000 {
					t.Errorf("one call of the sweep drops %d", dropped)
				}
				sum += int(dropped)
			}
		}
		if left := b.Client.ZCard(ctx, "{test}/keys").Val(); sum != stale || int(left) != written {
			t.Errorf("of %d stale entries the calls of the sweep drop %d; %d entries are left of %d records", stale, sum, left, written)
		}
	})
}

// fillStale puts entries into a sorted set that no record belongs to. Their scores
// are 0 or, as the reference has it, an expiry long past.
func fillStale(t testing.TB, b *backend.Backend, n int, index string, expiries bool) {
	t.Helper()
	const script = `
		for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
			redis.call('ZADD', KEYS[1], ARGV[3] == '1' and i or 0, string.format('night:%d', i))
		end`
	for first := 1; first <= n; first += 20_000 {
		err := b.Client.Eval(ctx, script, []string{index}, first, min(first+19_999, n), expiries).Err()
		if err != nil && err != redis.Nil {
			t.Fatal(err)
		}
	}
}
