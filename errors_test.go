package wildkey_test

import (
	"context"
	"errors"
	"slices"
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
			{"Put of a key twice", cache.Put(ctx, backend.Rec(good, "v"), backend.Rec(good, "w")), wildkey.ErrBadArgument},
			{"Put under the digest of nothing", cache.Put(ctx, wildkey.Record{Key: good, If: wildkey.EqualSHA1("")}), wildkey.ErrBadArgument},
			{"Put under a digest in upper case", cache.Put(ctx, wildkey.Record{Key: good,
				If: wildkey.EqualSHA1(strings.Repeat("A", 40))}), wildkey.ErrBadArgument},
			{"Apply of the zero Op", first(cache.Apply(ctx, wildkey.OpPut(backend.Rec(good, "v")), wildkey.Op{})), wildkey.ErrBadArgument},
			{"Apply of the zero Op with a condition", first(cache.Apply(ctx, wildkey.Op{}.If(wildkey.Absent()))), wildkey.ErrBadArgument},
			{"Apply of OpCheck alone", first(cache.Apply(ctx, wildkey.OpCheck(good))), wildkey.ErrBadArgument},
			{"Apply of OpCheck with the zero Condition", first(cache.Apply(ctx, wildkey.OpCheck(good).If(wildkey.Condition{}))), wildkey.ErrBadArgument},
			{"Apply of a key twice", first(cache.Apply(ctx, wildkey.OpPut(backend.Rec(good, "v")), wildkey.OpDelete(good))), wildkey.ErrBadArgument},
			{"Apply without a TTL", first(noTTL.Apply(ctx, wildkey.OpPut(backend.Rec(good, "v")))), wildkey.ErrInvalidTTL},
			{"Apply of OpTouch with 0", first(cache.Apply(ctx, wildkey.OpTouch(good, 0))), wildkey.ErrInvalidTTL},
			{"Apply of OpTouch with KeepTTL", first(cache.Apply(ctx, wildkey.OpTouch(good, wildkey.KeepTTL))), wildkey.ErrInvalidTTL},
			{"Apply of OpDelete", first(cache.Apply(ctx, wildkey.OpDelete(bad))), wildkey.ErrInvalidKey},
			{"Apply of too many", first(cache.Apply(ctx, slices.Repeat([]wildkey.Op{wildkey.OpDelete(good)}, 3)...)), wildkey.ErrTooMany},
			{"Validate", cache.Validate(wildkey.OpDelete(good), wildkey.OpDelete(bad)), wildkey.ErrInvalidKey},
			{"Put of too many", cache.Put(ctx, backend.Rec(good, "v"), backend.Rec(good, "v"), backend.Rec(good, "v")), wildkey.ErrTooMany},
			{"Get", first(cache.Get(ctx, bad)), wildkey.ErrInvalidKey},
			{"GetMany", first(cache.GetMany(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"GetMany of too many", first(cache.GetMany(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Delete", first(cache.Delete(ctx, good, bad)), wildkey.ErrInvalidKey},
			{"Delete of too many", first(cache.Delete(ctx, good, good, good)), wildkey.ErrTooMany},
			{"Take", first(cache.Take(ctx, bad)), wildkey.ErrInvalidKey},
			{"Touch", first(cache.Touch(ctx, time.Hour, bad)), wildkey.ErrInvalidKey},
			{"Touch with 0", first(cache.Touch(ctx, 0, good)), wildkey.ErrInvalidTTL},
			{"Touch of a key twice", first(cache.Touch(ctx, time.Hour, good, good)), wildkey.ErrBadArgument},
			{"TouchMatch with 0", first(cache.TouchMatch(ctx, 0, everything)), wildkey.ErrInvalidTTL},
			{"TouchMatch with KeepTTL", first(cache.TouchMatch(ctx, wildkey.KeepTTL, everything)), wildkey.ErrInvalidTTL},
			{"TTL", first(cache.TTL(ctx, bad)), wildkey.ErrInvalidKey},
			{"GetTouch", first(cache.GetTouch(ctx, time.Hour, bad)), wildkey.ErrInvalidKey},
			{"GetTouch with 0", first(cache.GetTouch(ctx, 0, good)), wildkey.ErrInvalidTTL},
			{"Collect of no pattern", first(cache.Collect(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"Count of no pattern", first(cache.Count(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch of no pattern", first(cache.DeleteMatch(ctx, wildkey.Pattern{})), wildkey.ErrBadPattern},
			{"DeleteMatch under no key", first(cache.DeleteMatch(ctx, wildkey.Under(nil))), wildkey.ErrBadPattern},
			{"DeleteMatch under an empty segment", first(cache.DeleteMatch(ctx, wildkey.Under(bad))), wildkey.ErrBadPattern},
			{"Page with the cursor of another pattern", first(cache.Page(ctx, wildkey.MustParsePattern("b:*"), wildkey.PageOptions{Cursor: "(a:1"})), wildkey.ErrBadArgument},
			{"Page with a limit out of range", first(cache.Page(ctx, everything, wildkey.PageOptions{Limit: 100_000})), wildkey.ErrBadArgument},
			{"New with a TTL below a millisecond", first(wildkey.New(b.Client, wildkey.Options{TTL: 1})), wildkey.ErrInvalidTTL},
			{"New with KeepTTL", first(wildkey.New(b.Client, wildkey.Options{TTL: wildkey.KeepTTL})), wildkey.ErrInvalidTTL},
		} {
			if !errors.Is(row.got, row.want) {
				t.Errorf("%s: %v, want %v", row.name, row.got, row.want)
			}
		}
		for _, options := range []wildkey.Options{{PageReads: -1}, {PageReads: 100_000}, {PageLimit: 100_000}, {CallBytes: 1_000_000_000}, {CallRecords: -1}, {CallRecords: 10_001}} {
			if _, err := wildkey.New(b.Client, options); err == nil {
				t.Errorf("New with %+v: no error", options)
			}
		}
		var noClient *redis.Client
		var noRing *redis.Ring
		for _, client := range []wildkey.Client{nil, noClient, noRing} {
			if _, err := wildkey.New(client, wildkey.Options{}); err == nil || !strings.Contains(err.Error(), "nil") {
				t.Errorf("New with %T nil: %v", client, err)
			}
		}
		for _, client := range []wildkey.Client{b.Client.Pipeline(), b.Client.TxPipeline()} {
			if _, err := wildkey.New(client, wildkey.Options{}); err == nil || !strings.Contains(err.Error(), "*redis.Pipeline") {
				t.Errorf("New with %T: %v", client, err)
			}
		}
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("something was written: %d Redis keys", n)
		}
	})
}

// TestErrorsNameTheirPlace, and the reason.
func TestErrorsNameTheirPlace(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache, a := b.Cache(t, wildkey.Options{}), wildkey.K("a")
		first := func(_ any, err error) error { return err }
		for _, row := range []struct {
			got  error
			want string
		}{
			{cache.Put(ctx, backend.Rec(a, "v"), backend.Rec(wildkey.K("user", ""), "v")),
				`wildkey: invalid key: "user:": segment 2 is empty, or of a type that K does not take (key 2 of the call)`},
			{cache.Put(ctx, backend.Rec(a, "v"), wildkey.Record{Key: wildkey.K("user", 42), TTL: time.Microsecond}),
				"wildkey: invalid TTL: 1µs is below a millisecond (number 2 of the call, user:42)"},
			{first(cache.Apply(ctx, wildkey.OpDelete(a), wildkey.Op{})), "wildkey: bad argument: the zero Op (number 2 of the call, )"},
			{first(cache.Apply(ctx, wildkey.OpDelete(a), wildkey.OpCheck(wildkey.K("b")))),
				"wildkey: bad argument: OpCheck without a condition (number 2 of the call, b)"},
			{first(cache.Apply(ctx, wildkey.OpDelete(a), wildkey.OpDelete(wildkey.K("b")), wildkey.OpDelete(a))),
				"wildkey: bad argument: BADARG put: KEYS[4], a, comes twice"},
			{first(cache.Touch(ctx, 0, a)),
				"wildkey: invalid TTL: none is given; use NoExpiry for a record that never expires (number 1 of the call, a)"},
			{&wildkey.ConditionError{Index: 2, Key: wildkey.K("user", 42)}, "wildkey: condition does not hold: number 3 of the call, user:42"},
		} {
			if row.got == nil || row.got.Error() != row.want {
				t.Errorf("%v, want\n%s", row.got, row.want)
			}
		}
	})
}

// TestServerErrorsStayReachable has a string in the place of the index.
func TestServerErrorsStayReachable(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		b.Do(t, "SET", "{test}/keys", "foreign")
		first := func(_ any, err error) error { return err }
		for name, err := range map[string]error{
			"Put":     cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")),
			"Delete":  first(cache.Delete(ctx, wildkey.K("a"))),
			"Collect": first(cache.Collect(ctx, wildkey.MustParsePattern("**"))),
			"Count":   first(cache.Count(ctx, wildkey.MustParsePattern("**"))),
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
