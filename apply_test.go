package wildkey_test

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

// recordsOf writes all records as "key=value ttl", with the TTL to the minute.
func recordsOf(t *testing.T, cache *wildkey.Cache) []string {
	t.Helper()
	texts := []string{}
	for entry, err := range cache.Match(ctx, wildkey.MustParsePattern("**"), wildkey.WithTTL()) {
		backend.Must(t, err)
		ttl := "never"
		if entry.TTL != wildkey.NoExpiry {
			ttl = entry.TTL.Round(time.Minute).String()
		}
		texts = append(texts, fmt.Sprintf("%s=%s %s", entry.Key, entry.Value, ttl))
	}
	return texts
}

func hexSHA1(value string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(value))) }

// TestApply does each operation under each condition to a live record, to one that
// is not there and to one that has left an index entry, beside a put that is done
// with it or not at all.
func TestApply(t *testing.T) {
	key, witness := wildkey.K("a"), wildkey.Record{Key: wildkey.K("witness"), Value: []byte("w"), TTL: time.Minute}
	never, always := func(bool) bool { return false }, func(bool) bool { return true }
	live, absent := func(live bool) bool { return live }, func(live bool) bool { return !live }
	conditions := []struct {
		name  string
		is    wildkey.Condition
		holds func(live bool) bool
	}{
		{"none", wildkey.Condition{}, always},
		{"Absent", wildkey.Absent(), absent},
		{"Present", wildkey.Present(), live},
		{"Equal", wildkey.Equal([]byte("old")), live},
		{"Equal to another", wildkey.Equal([]byte("other")), never},
		{"EqualSHA1", wildkey.EqualSHA1(hexSHA1("old")), live},
		{"EqualSHA1 of another", wildkey.EqualSHA1(hexSHA1("other")), never},
	}
	put := wildkey.Record{Key: key, Value: []byte("new"), TTL: 2 * time.Hour}
	kept := wildkey.Record{Key: key, Value: []byte("new"), TTL: wildkey.KeepTTL}
	for _, row := range []struct {
		name      string
		op        wildkey.Op
		done      int    // where the record is live
		after     string // then
		doneNone  int    // where it is not
		afterNone string // then
		needsIf   bool   // it is refused without a condition: see TestArgumentErrors
		needsLive bool   // it fails where the record is not live
	}{
		{"put", wildkey.OpPut(put), 1, "a=new 2h0m0s", 1, "a=new 2h0m0s", false, false},
		{"put with KeepTTL", wildkey.OpPut(kept), 1, "a=new 1h0m0s", 0, "", false, true},
		{"delete", wildkey.OpDelete(key), 1, "", 0, "", false, false},
		{"touch", wildkey.OpTouch(key, 3*time.Hour), 1, "a=old 3h0m0s", 0, "", false, false},
		{"touch with NoExpiry", wildkey.OpTouch(key, wildkey.NoExpiry), 1, "a=old never", 0, "", false, false},
		{"check", wildkey.OpCheck(key), 0, "a=old 1h0m0s", 0, "", true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			backend.Each(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{})
				for _, condition := range conditions {
					for _, record := range []string{"live", "absent", "stale"} {
						if row.needsIf && condition.name == "none" {
							continue
						}
						b.Do(t, "FLUSHALL")
						if record != "absent" {
							backend.Must(t, cache.Put(ctx, backend.Rec(key, "old")))
						}
						if record == "stale" {
							b.Do(t, "UNLINK", "{test}:a")
						}
						isLive := record == "live"
						done, after := 1+row.doneNone, []string{row.afterNone, "witness=w 1m0s"}
						if isLive {
							done, after = 1+row.done, []string{row.after, "witness=w 1m0s"}
						}
						holds := condition.holds(isLive) && (isLive || !row.needsLive)
						if !holds {
							done, after = 0, recordsOf(t, cache)
						}

						n, err := cache.Apply(ctx, wildkey.OpPut(witness), row.op.If(condition.is))
						var failed *wildkey.ConditionError
						if errors.As(err, &failed) == holds || holds && err != nil {
							t.Errorf("%s, %s: %v", condition.name, record, err)
						}
						if !holds && (!errors.Is(err, wildkey.ErrCondition) || failed.Index != 1 || failed.Key.String() != "a") {
							t.Errorf("%s, %s: %#v", condition.name, record, err)
						}
						if n != done {
							t.Errorf("%s, %s: %d done, want %d", condition.name, record, n, done)
						}
						want := strings.TrimSpace(strings.Join(after, "\n"))
						if diff := cmp.Diff(want, strings.Join(recordsOf(t, cache), "\n")); diff != "" {
							t.Errorf("%s, %s (-want +got)\n%s", condition.name, record, diff)
						}
					}
				}
			})
		})
	}
}

// TestApplySeveral has all operations in one call, and the second condition fail in
// the next.
func TestApplySeveral(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		rec := func(name, value string) wildkey.Record { return backend.Rec(wildkey.K(name), value) }
		backend.Must(t, cache.Put(ctx, rec("epoch", "1"), rec("profile", "old"), rec("session", "s"), rec("view", "v")))
		ops := []wildkey.Op{
			wildkey.OpCheck(wildkey.K("epoch")).If(wildkey.Equal([]byte("1"))),
			wildkey.OpPut(rec("profile", "new")).If(wildkey.Equal([]byte("old"))),
			wildkey.OpTouch(wildkey.K("session"), 2*time.Hour),
			wildkey.OpDelete(wildkey.K("view")),
			wildkey.OpDelete(wildkey.K("none")),
			wildkey.OpPut(rec("added", "a")).If(wildkey.Present()).If(wildkey.Absent()), // the last If counts
		}
		if n, err := cache.Apply(ctx, ops...); n != 4 || err != nil {
			t.Errorf("Apply: %d, %v", n, err)
		}
		want := []string{"added=a 1h0m0s", "epoch=1 1h0m0s", "profile=new 1h0m0s", "session=s 2h0m0s"}
		if diff := cmp.Diff(want, recordsOf(t, cache)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		n, err := cache.Apply(ctx, ops...)
		if n != 0 || !errors.Is(err, wildkey.ErrCondition) || !strings.HasSuffix(err.Error(), "number 2 of the call, profile") {
			t.Errorf("Apply again: %d, %v", n, err)
		}
		if diff := cmp.Diff(want, recordsOf(t, cache)); diff != "" {
			t.Errorf("after a failed condition (-want +got)\n%s", diff)
		}
		if n, err := cache.Apply(ctx); n != 0 || err != nil {
			t.Errorf("Apply of nothing: %d, %v", n, err)
		}
	})
}

func TestApplyOnAFullServer(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		a, c := wildkey.K("a"), wildkey.K("c")
		backend.Must(t, cache.Put(ctx, backend.Rec(a, "1"), backend.Rec(c, "2")))
		before := recordsOf(t, cache)
		b.LimitMemory(t, "1")
		n, err := cache.Apply(ctx, wildkey.OpDelete(a), wildkey.OpTouch(c, 2*time.Hour), wildkey.OpPut(backend.Rec(wildkey.K("d"), "3")))
		if n != 0 || !redis.IsOOMError(err) {
			t.Errorf("with a put: %d, %v", n, err)
		}
		if diff := cmp.Diff(before, recordsOf(t, cache)); diff != "" {
			t.Errorf("something was written (-before +after)\n%s", diff)
		}
		n, err = cache.Apply(ctx, wildkey.OpDelete(a), wildkey.OpTouch(c, 2*time.Hour).If(wildkey.Present()))
		if n != 2 || err != nil {
			t.Errorf("without: %d, %v", n, err)
		}
		if diff := cmp.Diff([]string{"c=2 2h0m0s"}, recordsOf(t, cache)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestKeepTTL changes the value of records of every TTL.
func TestKeepTTL(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		keys := []wildkey.Key{wildkey.K("a"), wildkey.K("b"), wildkey.K("c")}
		var kept []wildkey.Record
		for i, ttl := range []time.Duration{0, 5 * time.Hour, wildkey.NoExpiry} {
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: keys[i], Value: []byte("old"), TTL: ttl}))
			kept = append(kept, wildkey.Record{Key: keys[i], Value: []byte("new"), TTL: wildkey.KeepTTL})
		}
		backend.Must(t, cache.Put(ctx, kept...))
		want := []string{"a=new 1h0m0s", "b=new 5h0m0s", "c=new never"}
		if diff := cmp.Diff(want, recordsOf(t, cache)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		kept[1].Key, kept[0].Value = wildkey.K("none"), []byte("newer")
		err := cache.Put(ctx, kept...)
		var failed *wildkey.ConditionError
		if !errors.As(err, &failed) || failed.Index != 1 || failed.Key.String() != "none" {
			t.Errorf("Put with one that is not live: %v", err)
		}
		if diff := cmp.Diff(want, recordsOf(t, cache)); diff != "" {
			t.Errorf("something was written (-before +after)\n%s", diff)
		}
	})
}

// TestConditionsTellValuesApart has values that look like conditions, and no value.
func TestConditionsTellValuesApart(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("a")
		value := ""
		backend.Must(t, cache.Put(ctx, backend.Rec(key, value)))
		for _, next := range []string{"*", "-", "+", "=", "=a", "#", "#" + hexSHA1("a"), hexSHA1("a"), "\x00\xff\r\n", ""} {
			for _, condition := range []wildkey.Condition{
				wildkey.Absent(), wildkey.Equal([]byte(next)), wildkey.Equal([]byte(value + " ")), wildkey.EqualSHA1(hexSHA1(next)),
			} {
				if err := cache.Put(ctx, wildkey.Record{Key: key, Value: []byte("wrong"), If: condition}); !errors.Is(err, wildkey.ErrCondition) {
					t.Errorf("Put over %q under %q: %v", value, condition, err)
				}
			}
			check := wildkey.OpCheck(key).If(wildkey.EqualSHA1(hexSHA1(value)))
			if n, err := cache.Apply(ctx, check); n != 0 || err != nil {
				t.Errorf("the digest of %q: %d, %v", value, n, err)
			}
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: key, Value: []byte(next), If: wildkey.Equal([]byte(value))}))
			value = next
		}
	})
}

func TestTouch(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "1"), backend.Rec(wildkey.K("a", "b"), "2"), backend.Rec(wildkey.K("c"), "3")))
		if n, err := cache.TouchMatch(ctx, wildkey.NoExpiry, wildkey.MustParsePattern("a:**")); n != 2 || err != nil {
			t.Errorf("TouchMatch: %d, %v", n, err)
		}
		if n, err := cache.Touch(ctx, 2*time.Hour, wildkey.K("a"), wildkey.K("absent")); n != 1 || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
		}
		want := []string{"a=1 2h0m0s", "a:b=2 never", "c=3 1h0m0s"}
		if diff := cmp.Diff(want, recordsOf(t, cache)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a", "a:b", "c"}, b.Members(t)); diff != "" {
			t.Errorf("index (-want +got)\n%s", diff)
		}
	})
}

// TestLockAtAnySize takes and releases a lock beside so many records that one of
// the sizes is where put.lua collects: that must not cost each time. An entry that
// is looked at counts as a call.
func TestLockAtAnySize(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache, lock := b.Cache(t, wildkey.Options{}), wildkey.Record{Key: wildkey.K("lock"), Value: []byte("holder"), If: wildkey.Absent()}
		backend.Must(t, cache.Load(ctx))
		const rounds = 60
		var costs []int
		for size := range 70 {
			b.Engine.ResetTrace()
			for range rounds {
				backend.Must(t, cache.Put(ctx, lock))
				if n, err := cache.Apply(ctx, wildkey.OpDelete(lock.Key).If(wildkey.Equal(lock.Value))); n != 1 || err != nil {
					t.Fatalf("release: %d, %v", n, err)
				}
			}
			costs = append(costs, looked(b)+1+strings.Count(b.ScriptCalls(), ", "))
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("record", size), "v")))
		}
		cheapest := slices.Min(costs)
		for size, cost := range costs {
			if cost > 2*cheapest {
				t.Errorf("beside %d records it costs %d calls, at the cheapest size %d", size, cost/rounds, cheapest/rounds)
			}
		}
	})
}
