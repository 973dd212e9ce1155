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

var ctx = context.Background()

func TestPutConditions(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		key, other := wildkey.K("a"), wildkey.K("b")
		for _, step := range []struct {
			name  string
			value string
			when  wildkey.Condition
			want  error
		}{
			{"present where there is none", "1", wildkey.Present(), wildkey.ErrCondition},
			{"equal where there is none", "1", wildkey.Equal(nil), wildkey.ErrCondition},
			{"absent where there is none", "1", wildkey.Absent(), nil},
			{"absent where there is one", "2", wildkey.Absent(), wildkey.ErrCondition},
			{"equal to another value", "2", wildkey.Equal([]byte("x")), wildkey.ErrCondition},
			{"equal to the value", "2", wildkey.Equal([]byte("1")), nil},
			{"present where there is one", "", wildkey.Present(), nil},
			{"equal to the empty value", "*", wildkey.Equal(nil), nil},
			{"equal to a value that looks like a condition", "3", wildkey.Equal([]byte("*")), nil},
		} {
			before, _ := cache.Get(ctx, key)
			err := cache.Put(ctx, backend.Rec(other, step.name), wildkey.Record{Key: key, Value: []byte(step.value), If: step.when})
			if !errors.Is(err, step.want) {
				t.Errorf("%s: %v, want %v", step.name, err, step.want)
			}
			if err != nil && !strings.Contains(err.Error(), "record 2") {
				t.Errorf("%s: %v does not name the record", step.name, err)
			}
			want, wantOther := step.value, step.name
			if step.want != nil {
				want, wantOther = string(before), ""
			}
			if got, _ := cache.Get(ctx, key); string(got) != want {
				t.Errorf("%s: the value is %q, want %q", step.name, got, want)
			}
			if got, _ := cache.Take(ctx, other); string(got) != wantOther {
				t.Errorf("%s: the record beside it is %q, want %q", step.name, got, wantOther)
			}
		}
	})
}

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

func TestTouch(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "1"), backend.Rec(wildkey.K("a", "b"), "2"), backend.Rec(wildkey.K("c"), "3")))
		ttl := func(name string) time.Duration { // to the minute; -1 if there is none
			left := b.Client.PTTL(ctx, "{test}:"+name).Val()
			if left < 0 {
				return left
			}
			return left.Round(time.Minute)
		}

		if n, err := cache.Touch(ctx, 2*time.Hour, wildkey.K("a"), wildkey.K("absent")); n != 1 || err != nil {
			t.Errorf("Touch: %d, %v", n, err)
		}
		if n, err := cache.TouchMatch(ctx, wildkey.NoExpiry, wildkey.MustParsePattern("a:**")); n != 2 || err != nil {
			t.Errorf("TouchMatch: %d, %v", n, err)
		}
		if got := ttl("a:b"); got != -1 {
			t.Errorf("after NoExpiry the TTL is %v", got)
		}
		if n, err := cache.Touch(ctx, 0, wildkey.K("a")); n != 1 || err != nil {
			t.Errorf("Touch with 0: %d, %v", n, err)
		}
		if got := ttl("a"); got != time.Hour {
			t.Errorf("after a TTL of 0, for Options.TTL, it is %v", got)
		}
		if got := ttl("c"); got != time.Hour {
			t.Errorf("the TTL of a record that no call named is %v", got)
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
		for _, text := range []string{"**", "*", "*:x", "*:x:**", "4:**", "4*:**", "4*:x", "a:x:*", "*:*:a", "4", "none"} {
			pattern := wildkey.MustParsePattern(text)
			want, err := whole.All(ctx, pattern)
			backend.Must(t, err)
			if !slices.IsSortedFunc(want, func(a, b wildkey.Entry) int { return strings.Compare(a.Key.String(), b.Key.String()) }) {
				t.Errorf("%s: %q is not in byte order", text, backend.Entries(want))
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
				n := 0
				for key, err := range cache.MatchKeys(ctx, pattern) {
					backend.Must(t, err)
					if n >= len(want) || key.String() != want[n].Key.String() {
						t.Errorf("%s with %+v: MatchKeys has %s at %d", text, options, key, n)
					}
					n++
				}
				if n != len(want) {
					t.Errorf("%s with %+v: MatchKeys: %d keys, want %d", text, options, n, len(want))
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
			{"Touch", 1, func() error { _, err := cache.Touch(ctx, 0, key); return err }},
			{"All", 1, func() error { _, err := cache.Collect(ctx, under); return err }},
			{"Count", 1, func() error { _, err := cache.Count(ctx, under); return err }},
			{"TouchMatch", 2, func() error { _, err := cache.TouchMatch(ctx, 0, under); return err }},
			{"Take", 1, func() error { _, err := cache.Take(ctx, key); return err }},
			{"DeleteMatch", 2, func() error { _, err := cache.DeleteMatch(ctx, under); return err }},
			{"Delete", 1, func() error { _, err := cache.Delete(ctx, key); return err }},
			{"Put of nothing", 0, func() error { return cache.Put(ctx) }},
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
			got, err := b.Cache(t, wildkey.Options{Namespace: name}).All(ctx, wildkey.MustParsePattern("**"))
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

// TestMatchRunsReadOnly has a user without write permission, and a replica,
// run the reading verbs.
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
			"+get", "+mget", "+zcount", "+zrangebylex", "+zscore", "+time")
		reader := redis.NewClient(&redis.Options{Addr: b.Server.Addr, Username: "reader", Password: "secret"})
		defer reader.Close()
		reading, err := wildkey.New(reader, wildkey.Options{Namespace: "test", TTL: time.Hour, ReadOnly: true, Preloaded: true})
		backend.Must(t, err)
		got, err := reading.All(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"a=v"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n, err := reading.Count(ctx, wildkey.MustParsePattern("*")); n != 1 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if err := reading.Put(ctx, backend.Rec(wildkey.K("b"), "v")); !redis.HasErrorPrefix(err, refusal) {
			t.Errorf("Put: %v, want %s", err, refusal)
		}
	})
}

// TestClockSetBack: no record comes back that the indexes have forgotten.
func TestClockSetBack(t *testing.T) {
	everything := wildkey.MustParsePattern("**")
	for name, forget := range map[string]func(*wildkey.Cache) error{
		"Put":   func(cache *wildkey.Cache) error { return cache.Put(ctx, backend.Rec(wildkey.K("b"), "v")) },
		"Sweep": func(cache *wildkey.Cache) error { _, err := cache.Sweep(ctx); return err },
		"All":   func(cache *wildkey.Cache) error { _, err := cache.Collect(ctx, everything); return err },
	} {
		t.Run(name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache, start := b.Cache(t, wildkey.Options{}), b.Engine.Now()
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
				b.Pass(2 * time.Hour)
				backend.Must(t, forget(cache))
				b.Engine.SetNow(start)
				_, err := cache.Get(ctx, wildkey.K("a"))
				if listed := b.Client.ZScore(ctx, "{test}/keys", "a").Err() == nil; listed || err != wildkey.ErrNotFound {
					t.Errorf("listed: %t; Get: %v", listed, err)
				}
			})
		})
	}
}

// TestForeignEntries has in the order index what no Cache writes.
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
			t.Errorf("order index after a walk (-want +got)\n%s", diff)
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
			t.Errorf("All: %d records, want %d", len(got), len(records))
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

// TestGetAllocates no more than two things beyond what go-redis does.
func TestGetAllocates(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache, key := b.Cache(t, wildkey.Options{}), wildkey.K("user", 42, "session", "abc")
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
		raw := testing.AllocsPerRun(100, func() { b.Client.Get(ctx, "{test}:user:42:session:abc") })
		got := testing.AllocsPerRun(100, func() { _, _ = cache.Get(ctx, key) })
		if got > raw+2 {
			t.Errorf("Get allocates %v times, GET itself %v", got, raw)
		}
	})
}
