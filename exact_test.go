package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

// These tests run on the engine alone: they need a clock that stands still, or
// every command that a script calls.

// TestExpiryIsExact sets the clock to fractions of a millisecond, and to the
// last millisecond of a record, in which Redis still has it.
func TestExpiryIsExact(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		start := time.UnixMilli(1_700_000_000_000)
		b.engine.SetNow(start.Add(987_654 * time.Microsecond))
		cache := b.cache(t, wildkey.Options{})
		key := wildkey.K("a")
		must(t, cache.Put(ctx, wildkey.Record{Key: key, Value: []byte("v"), TTL: 1234 * time.Millisecond}))
		const expiresAt = 1_700_000_000_987 + 1234
		if score := b.client.ZScore(ctx, "{test}/expiry", "a").Val(); score != expiresAt {
			t.Errorf("after Put the score is %.0f, want %d", score, expiresAt)
		}
		b.checkInvariant(t)

		b.engine.SetNow(time.UnixMilli(expiresAt))
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
			t.Errorf("Count in the last millisecond: %d, %v", n, err)
		}
		if stats, err := cache.Sweep(ctx); stats != (wildkey.SweepStats{}) || err != nil {
			t.Errorf("Sweep in the last millisecond: %+v, %v", stats, err)
		}
		must(t, cache.Put(ctx, rec(wildkey.K("b"), "v")))
		if diff := cmp.Diff([]string{"a", "b"}, b.members(t, "keys")); diff != "" {
			t.Errorf("a Put in the last millisecond has purged (-want +got)\n%s", diff)
		}
		if n, err := cache.Reindex(ctx); n != 2 || err != nil {
			t.Errorf("Reindex in the last millisecond: %d, %v", n, err)
		}
		if value, err := cache.Get(ctx, key); string(value) != "v" || err != nil {
			t.Errorf("Get after that: %q, %v", value, err)
		}
		b.checkInvariant(t)

		b.engine.SetNow(time.UnixMilli(expiresAt + 2)) // Reindex left it one millisecond more
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
			t.Errorf("Count after it: %d, %v", n, err)
		}
		if _, err := cache.Get(ctx, key); err != wildkey.ErrNotFound {
			t.Errorf("Get after it: %v", err)
		}
	})
}

// TestKeep: a record that is indexed again expires as its score says, if that is
// what the time that it has left comes to; and else as that says.
func TestKeep(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		now := time.UnixMilli(1_700_000_000_000)
		b.engine.SetNow(now)
		const expiresAt = 1_700_000_060_000
		for score, want := range map[string]int64{
			"1700000059001": 1_700_000_059_001, // the clock before Redis 7.2, in a call of almost a second
			"1700000059000": expiresAt,
			"1700000060001": expiresAt,
			"inf":           expiresAt,
			"-inf":          expiresAt,
		} {
			must(t, b.client.Set(ctx, "{test}:a", "v", time.Minute).Err())
			b.do(t, "ZADD", "{test}/expiry", score, "a")
			if n, err := b.cache(t, wildkey.Options{}).Reindex(ctx); n != 1 || err != nil {
				t.Errorf("Reindex: %d, %v", n, err)
			}
			if got := b.do(t, "PEXPIRETIME", "{test}:a"); got != want {
				t.Errorf("with the score %s the record expires at %d, want %d", score, got, want)
			}
			b.checkInvariant(t)
		}
	})
}

// TestReindexKeepsTimes: records that were put together go on to expire
// together, on servers whose clock goes on during a script too.
func TestReindexKeepsTimes(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 1000})
		var records []wildkey.Record
		for i := range 1000 {
			records = append(records, rec(wildkey.K("n", i), "v"))
		}
		must(t, cache.Put(ctx, records...))
		before := b.client.ZRangeWithScores(ctx, "{test}/expiry", 0, -1).Val()
		for range 5 {
			if n, err := cache.Reindex(ctx); n != len(records) || err != nil {
				t.Errorf("Reindex: %d, %v", n, err)
			}
		}
		if diff := cmp.Diff(before, b.client.ZRangeWithScores(ctx, "{test}/expiry", 0, -1).Val()); diff != "" {
			t.Errorf("the times (-before +after)\n%s", diff)
		}
		b.checkInvariant(t)
	})
}

// TestClockSetBack: no record comes back that the indexes have forgotten.
func TestClockSetBack(t *testing.T) {
	everything := wildkey.MustParsePattern("**")
	for name, forget := range map[string]func(*wildkey.Cache) error{
		"Put":   func(cache *wildkey.Cache) error { return cache.Put(ctx, rec(wildkey.K("b"), "v")) },
		"Sweep": func(cache *wildkey.Cache) error { _, err := cache.Sweep(ctx); return err },
		"All":   func(cache *wildkey.Cache) error { _, err := cache.All(ctx, everything); return err },
	} {
		t.Run(name, func(t *testing.T) {
			onEngine(t, func(t *testing.T, b *backend) {
				cache, start := b.cache(t, wildkey.Options{}), b.engine.Now()
				must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
				b.pass(2 * time.Hour)
				must(t, forget(cache))
				b.engine.SetNow(start)
				_, err := cache.Get(ctx, wildkey.K("a"))
				if listed := b.client.ZScore(ctx, "{test}/keys", "a").Err() == nil; listed || err != wildkey.ErrNotFound {
					t.Errorf("listed: %t; Get: %v", listed, err)
				}
			})
		})
	}
}

// TestOrderOfWrites holds the scripts to index first, record last when they
// write, and to record first, index last when they delete.
func TestOrderOfWrites(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Load(ctx))
		a, c := wildkey.K("a"), wildkey.K("c")
		for _, step := range []struct {
			name string
			call func() error
			want string
		}{
			{"Put", func() error { return cache.Put(ctx, rec(a, "v")) },
				"TIME, ZRANGEBYSCORE expiry, ZADD keys, ZADD expiry, SET a"},
			{"Put with NoExpiry", func() error {
				return cache.Put(ctx, wildkey.Record{Key: c, TTL: wildkey.NoExpiry, If: wildkey.Absent})
			}, "TIME, EXISTS c, ZRANGEBYSCORE expiry, ZADD keys, ZREM expiry, SET c"},
			{"Touch", func() error { _, err := cache.Touch(ctx, time.Minute, a); return err },
				"ZCARD expiry, PTTL a, TIME, ZADD keys, ZADD expiry, PEXPIREAT a"},
			{"Touch with NoExpiry", func() error { _, err := cache.Touch(ctx, wildkey.NoExpiry, a); return err },
				"ZCARD expiry, PTTL a, TIME, ZADD keys, ZREM expiry, PERSIST a"},
			{"All", func() error { _, err := cache.All(ctx, wildkey.MustParsePattern("**")); return err },
				"TIME, ZRANGEBYLEX keys, MGET a, MGET c"},
			{"Count", func() error { _, err := cache.Count(ctx, wildkey.MustParsePattern("**")); return err },
				"TIME, ZCOUNT expiry, ZRANGEBYLEX keys"},
			{"Delete", func() error { _, err := cache.Delete(ctx, a); return err },
				"ZCARD keys, ZCARD expiry, UNLINK a, ZREM keys, ZREM expiry"},
			{"Take", func() error { _, err := cache.Take(ctx, c); return err },
				"ZCARD keys, ZCARD expiry, MGET c, UNLINK c, ZREM keys, ZREM expiry"},
		} {
			b.engine.ResetTrace()
			must(t, step.call())
			if got := scriptCalls(b.engine.Trace()); got != step.want {
				t.Errorf("%s calls\n%s, want\n%s", step.name, got, step.want)
			}
		}
	})
}

// scriptCalls lists what scripts called, each command with the name behind the
// tag of its first key.
func scriptCalls(trace []luatest.Call) string {
	var calls []string
	for _, call := range trace {
		if call.Script == "" {
			continue
		}
		text := call.Args[0]
		if keys := call.Keys(); len(keys) > 0 {
			text += " " + keys[0][len("{test}/"):]
		}
		calls = append(calls, text)
	}
	return strings.Join(calls, ", ")
}

// TestPagesKeepTheirBounds reads match.lua's own count of entries read.
func TestPagesKeepTheirBounds(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		for n := range 100 {
			must(t, cache.Put(ctx, rec(wildkey.K("a", n), strings.Repeat("v", n))))
		}
		digest := load(t, b.client, "match")
		for _, limit := range []int{1, 5, 33, 100, 1000} {
			for _, reads := range []int{1, 5, 33, 100, 1000} {
				for _, bytes := range []int{1, 50, 1000, 100_000} {
					reply, err := b.client.EvalSha(ctx, digest, []string{"{test}/keys", "{test}/expiry"},
						"values", "", limit, reads, bytes, "=a", "*").Slice()
					must(t, err)
					results, size := reply[3].([]any), 0
					for _, text := range results {
						size += len(text.(string))
					}
					if len(results)/2 > limit || reply[1].(int64) > int64(reads) || size > bytes && len(results) > 2 {
						t.Errorf("limit %d, reads %d, bytes %d: %d results of %d bytes, %d read", limit, reads, bytes, len(results)/2, size, reply[1])
					}
					if len(results) == 0 {
						t.Errorf("limit %d, reads %d, bytes %d: no progress", limit, reads, bytes)
					}
				}
			}
		}
	})
}

// TestLargeValuesAreReadOneAtATime: a page must not fetch what it will not send.
func TestLargeValuesAreReadOneAtATime(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{PageBytes: 1000})
		for n := range 50 {
			size := 1
			if n >= 25 {
				size = 900
			}
			must(t, cache.Put(ctx, rec(wildkey.K("a", fmt.Sprintf("%02d", n)), strings.Repeat("v", size))))
		}
		b.engine.ResetTrace()
		page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), "", 0)
		must(t, err)
		fetched := strings.Count(scriptCalls(b.engine.Trace()), "MGET")
		if fetched > len(page.Entries)+1 {
			t.Errorf("a page of %d entries has fetched %d values", len(page.Entries), fetched)
		}
	})
}

// TestBatchesWithinScripts crosses the thousand values that scripts unpack at
// once, and the eight thousand that they could not.
func TestBatchesWithinScripts(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		const expired, written = 9_000, 4_100
		order, expiry := []any{"ZADD", "{test}/keys"}, []any{"ZADD", "{test}/expiry"}
		for n := range expired {
			order, expiry = append(order, 0, fmt.Sprintf("old:%d", n)), append(expiry, 1, fmt.Sprintf("old:%d", n))
		}
		b.do(t, order...)
		b.do(t, expiry...)
		cache := b.cache(t, wildkey.Options{MaxRecords: written})
		var records []wildkey.Record
		names := []string{"{test}/keys", "{test}/expiry"}
		for n := range written {
			records = append(records, rec(wildkey.K("new", n), fmt.Sprint(n)))
			names = append(names, "{test}:new:"+fmt.Sprint(n))
		}
		must(t, cache.Put(ctx, records...))
		if got, want := len(b.members(t, "keys")), written+expired-(64+2*written); got != want {
			t.Errorf("after a Put the order index holds %d entries, want %d", got, want)
		}
		values, err := b.client.EvalSha(ctx, load(t, b.client, "delete"), names, "values").StringSlice()
		must(t, err)
		if len(values) != written || !slices.EqualFunc(values, records, func(v string, r wildkey.Record) bool { return v == string(r.Value) }) {
			t.Errorf("delete gave %d values, not those of its %d records in order", len(values), written)
		}
		if stats, err := cache.Sweep(ctx); stats.Purged != expired-(64+2*written) || err != nil {
			t.Errorf("Sweep: %+v, %v", stats, err)
		}
		if n := b.client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("%d Redis keys are left", n)
		}
	})
}

// TestForeignEntries has in the order index what no Cache writes.
func TestForeignEntries(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache, everything := b.cache(t, wildkey.Options{PageLimit: 2}), wildkey.MustParsePattern("**")
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "1"), rec(wildkey.K("b"), "2"), rec(wildkey.K("gone"), "3")))
		b.do(t, "ZADD", "{test}/keys", 0, "", 0, "not canonical", 0, "a:")
		b.do(t, "UNLINK", "{test}:gone")
		got, err := cache.All(ctx, everything)
		must(t, err)
		if diff := cmp.Diff([]string{"a=1", "b=2"}, entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a", "b"}, b.members(t, "keys")); diff != "" {
			t.Errorf("order index after a walk (-want +got)\n%s", diff)
		}
		b.do(t, "ZADD", "{test}/keys", 0, "not canonical")
		if n, err := cache.DeleteMatch(ctx, everything); n != 2 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}

		// Another score than 0 puts an entry out of byte order, where the walk may
		// miss it; but it must end, and give nothing twice.
		must(t, cache.Put(ctx, rec(wildkey.K("b"), "1"), rec(wildkey.K("c"), "2"), rec(wildkey.K("z"), "3")))
		b.do(t, "ZADD", "{test}/keys", 5, "b", 6, "z")
		met := 0
		for _, err := range cache.Match(ctx, everything) {
			if err != nil {
				break
			}
			if met++; met > 3 {
				t.Fatal("the walk goes round in circles")
			}
		}
	})
}

// TestErrorsOfOlderServers: Redis 6.2 words an error that a script raised so.
func TestErrorsOfOlderServers(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		var raised string
		b.client.AddHook(hookBefore(func(cmd redis.Cmder) error {
			if cmd.Name() == "evalsha" {
				cmd.SetErr(luatest.Error("ERR Error running script (call to f_0): " + raised))
			}
			return cmd.Err()
		}))
		raised = "@user_script:60: @user_script: 60: -OOM command not allowed when used memory > 'maxmemory'. "
		if err := cache.Put(ctx, rec(wildkey.K("a"), "v")); !redis.IsOOMError(err) {
			t.Errorf("Put: %v, want an OOM error", err)
		}
		raised = "@user_script:60: WRONGTYPE Operation against a key holding the wrong kind of value"
		if err := cache.Put(ctx, rec(wildkey.K("a"), "v")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
			t.Errorf("Put: %v, want WRONGTYPE", err)
		}
	})
}

// TestFailuresOfTheLoader: what goes wrong beside a script is told, and a sweep
// that fails does not spoil a page.
func TestFailuresOfTheLoader(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		var refused string // the command, or the digest of the script, that fails
		b.client.AddHook(hookBefore(func(cmd redis.Cmder) error {
			if args := cmd.Args(); refused == cmd.Name() || len(args) > 1 && refused == args[1] {
				cmd.SetErr(luatest.Error("NOPERM refused by the test"))
				return cmd.Err()
			}
			return nil
		}))
		cache := b.cache(t, wildkey.Options{})
		refused = "script"
		if err := cache.Put(ctx, rec(wildkey.K("a"), "v")); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Put where SCRIPT LOAD is refused: %v", err)
		}
		if err := cache.Load(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Load where SCRIPT LOAD is refused: %v", err)
		}
		refused = ""
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v"), rec(wildkey.K("b"), "v")))
		b.do(t, "UNLINK", "{test}:a")
		refused = wildkey.Scripts()[3].SHA1
		got, err := cache.All(ctx, wildkey.MustParsePattern("**"))
		if diff := cmp.Diff([]string{"b=v"}, entries(got)); diff != "" || err != nil {
			t.Errorf("All where sweep.lua is refused: %v (-want +got)\n%s", err, diff)
		}
		if _, err := cache.Sweep(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Sweep where sweep.lua is refused: %v", err)
		}
	})
}

func TestWriterKeepsTheFirstError(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("c"), "old"), rec(wildkey.K("changed"), "old")))
		b.do(t, "HSET", "{test}:hash", "f", "v")
		g := newGate(b.client)
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		failing := wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present}
		failingOtherwise := wildkey.Record{Key: wildkey.K("hash"), If: wildkey.Equal(nil)}
		records, keys := []wildkey.Record{rec(wildkey.K("b"), "v")}, []wildkey.Key{wildkey.K("c")}
		must(t, w.Put(ctx, failing))
		<-g.entered
		must(t, w.Put(ctx, records...))
		must(t, w.Delete(ctx, keys...))
		must(t, w.Put(ctx, failingOtherwise))
		records[0], keys[0] = rec(wildkey.K("changed"), "v"), wildkey.K("changed")

		// A Flush that gives up leaves the error to the next.
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := w.Flush(short); !errors.Is(err, short.Err()) || err == nil {
			t.Errorf("Flush behind the gate: %v", err)
		}
		close(g.open)
		if err := w.Flush(ctx); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Flush after one that gave up: %v", err)
		}
		must(t, w.Close())
		b.do(t, "DEL", "{test}:hash") // which no index knows
		got, err := cache.All(ctx, wildkey.MustParsePattern("**"))
		must(t, err)
		if diff := cmp.Diff([]string{"b=v", "changed=old"}, entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestWriterClosesWhileOthersWait: a Put on a full queue is let in or ends with
// its context, and one from OnError is refused, not waited for.
func TestWriterClosesWhileOthersWait(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		g := newGate(b.client)
		var w *wildkey.Writer
		var late error
		closing := make(chan struct{})
		w = wildkey.NewWriter(b.cache(t, wildkey.Options{}), wildkey.WriterOptions{Queue: 1,
			OnError: func(error, []wildkey.Record, []wildkey.Key) {
				<-closing
				late = w.Put(ctx, rec(wildkey.K("retry"), "v"))
			}})
		must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present}))
		<-g.entered
		must(t, w.Put(ctx, rec(wildkey.K("b"), "v")))
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		if err := w.Put(short, rec(wildkey.K("c"), "v")); err == nil {
			t.Error("Put on a full queue: no error")
		}
		for { // until Close has begun
			if err := w.Put(short, rec(wildkey.K("c"), "v")); errors.Is(err, wildkey.ErrClosed) {
				break
			}
		}
		close(closing)
		close(g.open)
		must(t, <-closed)
		if !errors.Is(late, wildkey.ErrClosed) {
			t.Errorf("Put from OnError while closing: %v", late)
		}
	})
}

// TestDeepestKey has as many segments, and terms, as a key may have.
func TestDeepestKey(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		deepest := wildkey.Key(slices.Repeat([]string{"a"}, 2048))
		must(t, cache.Put(ctx, rec(deepest, "v"), rec(deepest[:2047], "v")))
		for _, row := range []struct {
			terms int
			last  wildkey.Term
			want  int
		}{{2047, wildkey.Any(), 1}, {2046, wildkey.Any(), 1}, {2047, wildkey.Rest(), 2}, {2047, wildkey.Lit("b"), 0}, {2047, wildkey.Prefix("a"), 1}} {
			pattern, err := wildkey.NewPattern(append(slices.Repeat([]wildkey.Term{wildkey.Any()}, row.terms), row.last)...)
			must(t, err)
			found, err := cache.All(ctx, pattern)
			if len(found) != row.want || err != nil {
				t.Errorf("%d wildcards and %v: %d records, %v, want %d", row.terms, row.last, len(found), err, row.want)
			}
		}
	})
}
