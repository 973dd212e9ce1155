package wildkey_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/luatest"
)

func TestArgumentErrors(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		noTTL, err := wildkey.New(b.Client, wildkey.Options{Namespace: "test"})
		backend.Must(t, err)
		cache := b.Cache(t, wildkey.Options{CallRecords: 2})
		good, bad := wildkey.K("a"), wildkey.K("a", "")
		long := wildkey.K(strings.Repeat("é", 700)) // 4,200 bytes encoded
		everything := wildkey.MustParsePattern("**")
		first := func(_ any, err error) error { return err }
		for _, row := range []struct {
			name string
			got  error
			want error
		}{
			{"Put with an empty segment", cache.Put(ctx, backend.Rec(good, "v"), backend.Rec(bad, "v")), wildkey.ErrInvalidKey},
			{"Put with no segment", cache.Put(ctx, backend.Rec(nil, "v")), wildkey.ErrInvalidKey},
			{"Put with a long key", cache.Put(ctx, backend.Rec(long, "v")), wildkey.ErrInvalidKey},
			{"Put without a TTL", noTTL.Put(ctx, backend.Rec(good, "v")), wildkey.ErrInvalidTTL},
			{"Put below a millisecond", cache.Put(ctx, wildkey.Record{Key: good, TTL: time.Microsecond}), wildkey.ErrInvalidTTL},
			{"Put with a negative TTL", cache.Put(ctx, wildkey.Record{Key: good, TTL: -time.Second}), wildkey.ErrInvalidTTL},
			{"Put of too many", cache.Put(ctx, backend.Rec(good, "v"), backend.Rec(good, "v"), backend.Rec(good, "v")), wildkey.ErrTooMany},
			{"Get", first(cache.Get(ctx, bad)), wildkey.ErrInvalidKey},
			{"GetMany", first(cache.GetMany(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"GetMany of too many", first(cache.GetMany(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Delete", first(cache.Delete(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"Delete of too many", first(cache.Delete(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Take", first(cache.Take(ctx, bad)), wildkey.ErrInvalidKey},
			{"Touch", first(cache.Touch(ctx, time.Hour, bad)), wildkey.ErrInvalidKey},
			{"Touch without a TTL", first(noTTL.Touch(ctx, 0, good)), wildkey.ErrInvalidTTL},
			{"TouchMatch without a TTL", first(noTTL.TouchMatch(ctx, 0, everything)), wildkey.ErrInvalidTTL},
			{"All of no pattern", first(cache.Collect(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"Count of no pattern", first(cache.Count(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch of no pattern", first(cache.DeleteMatch(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch under no key", first(cache.DeleteMatch(ctx, wildkey.Under(nil))), wildkey.ErrBadPattern},
			{"DeleteMatch under an empty segment", first(cache.DeleteMatch(ctx, wildkey.Under(bad))), wildkey.ErrBadPattern},
			{"Page with the cursor of another pattern", first(cache.Page(ctx, wildkey.MustParsePattern("b:*"), "(a:1", 0)), wildkey.ErrBadArgument},
			{"Page with a limit out of range", first(cache.Page(ctx, everything, "", 100_000)), wildkey.ErrBadArgument},
			{"New with a TTL below a millisecond", first(wildkey.New(b.Client, wildkey.Options{TTL: 1})), wildkey.ErrInvalidTTL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("%s: %v, want %v", row.name, row.got, row.want)
			}
		}
		for _, options := range []wildkey.Options{{PageReads: -1}, {PageReads: 100_000}, {PageLimit: 100_000}, {CallBytes: 1_000_000_000}, {CallRecords: -1}} {
			if _, err := wildkey.New(b.Client, options); err == nil {
				t.Errorf("New with %+v: no error", options)
			}
		}
		if _, err := wildkey.New(nil, wildkey.Options{}); err == nil {
			t.Error("New without a client: no error")
		}
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("something was written: %d Redis keys", n)
		}
	})
}

// TestServerErrorsStayReachable has a string in the place of the order index.
func TestServerErrorsStayReachable(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		b.Do(t, "SET", "{test}/keys", "foreign")
		first := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Put":    cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")),
			"Delete": first(cache.Delete(ctx, wildkey.K("a"))),
			"All":    first(cache.Collect(ctx, wildkey.MustParsePattern("**"))),
			"Count":  first(cache.Count(ctx, wildkey.MustParsePattern("**"))),
		} {
			if !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("%s: %v, want WRONGTYPE", name, err)
			}
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if err := cache.Put(canceled, backend.Rec(wildkey.K("a"), "v")); !errors.Is(err, context.Canceled) {
			t.Errorf("Put with a canceled context: %v", err)
		}
	})
}

// TestErrorsOfOlderServers: Redis 6.2 words an error that a script raised so.
func TestErrorsOfOlderServers(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		var raised string
		b.Client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
			if cmd.Name() == "evalsha" {
				cmd.SetErr(luatest.Error("ERR Error running script (call to f_0): " + raised))
			}
			return cmd.Err()
		}))
		raised = "@user_script:60: @user_script: 60: -OOM command not allowed when used memory > 'maxmemory'. "
		if err := cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")); !redis.IsOOMError(err) {
			t.Errorf("Put: %v, want an OOM error", err)
		}
		raised = "@user_script:60: WRONGTYPE Operation against a key holding the wrong kind of value"
		if err := cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("Put: %v, want WRONGTYPE", err)
		}
	})
}
