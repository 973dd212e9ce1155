package reference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/reference"
	"github.com/wildkey/wildkey/writer"
)

// Each test in this file shows one flaw of the reference, failing if the flaw
// does not show, and then takes wildkey.Cache through the same steps.

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

func TestFlawPutRacingDelete(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// Redis may run the delete between any two commands of the put.
		r := newReference(b)
		key := []string{"user", "1"}
		put := r.PutCommands(time.Hour, refRecord(key, "v"))
		last := len(put) - 1
		for _, command := range slices.Concat(put[:last], r.DeleteCommands(key), put[last:]) {
			b.Do(t, command...)
		}
		wantValue(t, r, key, "v")
		wantFound(t, r, reference.Wild)

		// A put and a delete are one command each: nothing can come in between,
		// in whatever order calls arrive.
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		var sent []string
		hooked := backend.Cache(t, b.Hooked(t, backend.Hook{After: func(commands []redis.Cmder) {
			for _, command := range commands {
				sent = append(sent, command.Name())
			}
		}}), wildkey.Options{})
		keys := []wildkey.Key{wildkey.K("user", 1), wildkey.K("user", 2), wildkey.K("user", 3)}
		backend.Must(t, hooked.Put(ctx, backend.Rec(keys[0], "v"), backend.Rec(keys[1], "v"), backend.Rec(keys[2], "v")))
		_, err := hooked.Delete(ctx, keys...)
		backend.Must(t, err)
		if !slices.Equal(sent, []string{"evalsha", "evalsha"}) {
			t.Errorf("a Put and a Delete send %q", sent)
		}

		var running sync.WaitGroup
		for worker := range 4 {
			running.Add(1)
			go func() {
				defer running.Done()
				for i := range 100 {
					key, other := keys[(i+worker)%3], keys[(i+worker+1)%3]
					err := cache.Put(ctx, backend.Rec(key, "v"), backend.Rec(other, "v"))
					if (i+worker)%2 == 0 {
						_, err = cache.Delete(ctx, key)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		running.Wait()
		b.CheckInvariant(t)
		var want []string
		for _, key := range keys {
			if value, err := cache.Get(ctx, key); err == nil {
				want = append(want, key.String()+"="+string(value))
			}
		}
		backend.WantAll(t, cache, "**", want...)
	})
}

func TestFlawBrokenConnectionStoresHalf(t *testing.T) {
	keys := []string{"a", "b", "c"}
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		backend.Must(t, b.Cache(t, wildkey.Options{}).Load(ctx))

		halves := 0
		atEveryCut(t, b, func(client *redis.Client) error {
			r := newReference(b)
			r.Client = client
			return r.Put(ctx, time.Hour, refRecord("a", "v"), refRecord("b", "v"), refRecord("c", "v"))
		}, func(client *redis.Client, cut int64) {
			r := newReference(b)
			r.Client = client
			stored := 0
			for _, key := range keys {
				if _, err := r.Get(ctx, key); err == nil {
					stored++
				}
			}
			if 0 < stored && stored < len(keys) {
				halves++
			}
		})
		if halves == 0 {
			t.Error("reference: no cut stores a part of the batch")
		}

		whole, none := 0, 0
		atEveryCut(t, b, func(client *redis.Client) error {
			cache := backend.Cache(t, client, wildkey.Options{})
			return cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("b"), "v"), backend.Rec(wildkey.K("c"), "v"))
		}, func(client *redis.Client, cut int64) {
			values, err := backend.Cache(t, client, wildkey.Options{}).GetMany(ctx, wildkey.K("a"), wildkey.K("b"), wildkey.K("c"))
			backend.Must(t, err)
			switch text := fmt.Sprintf("%s", values); text {
			case "[v v v]":
				whole++
			case "[  ]":
				none++
			default:
				t.Errorf("after %d bytes: %s is stored", cut, text)
			}
			for _, breach := range backend.Breaches(t, client) {
				t.Errorf("after %d bytes: %s", cut, breach)
			}
		})
		if whole == 0 || none == 0 {
			t.Errorf("%d cuts leave all, %d none: the cuts miss the call", whole, none)
		}
	})
}

func TestFlawDeleteHidesErrors(t *testing.T) {
	t.Run("wrong type", func(t *testing.T) {
		backend.Each(t, func(t *testing.T, b *backend.Backend) {
			r := newReference(b)
			backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "v")))
			b.Do(t, "SET", reference.IndexName([]string{r.Namespace}), "no sorted set")
			if err := r.Pipeline(ctx, r.DeleteCommands("k")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Fatalf("reference: the server says %v to a delete", err)
			}
			if err := r.Delete(ctx, "k"); err != nil {
				t.Errorf("reference: a delete that the server refuses returns %v", err)
			}

			cache := b.Cache(t, wildkey.Options{})
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("k"), "v")))
			b.Do(t, "SET", "{test}/keys", "no sorted set")
			if _, err := cache.Delete(ctx, wildkey.K("k")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
				t.Errorf("a delete that the server refuses returns %v", err)
			}
		})
	})
	// The engine has no users. This is what matters: a log-out that was none.
	t.Run("no permission", func(t *testing.T) {
		backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
			b.Do(t, "ACL", "SETUSER", "reader", "on", ">secret", "~*", "&*", "+@all", "-del", "-unlink", "-zrem")
			reader := b.NewClient(t, func(o *redis.Options) { o.Username, o.Password = "reader", "secret" })

			r := newReference(b)
			backend.Must(t, r.Put(ctx, time.Hour, refRecord("session", "v")))
			r.Client = reader
			if err := r.Pipeline(ctx, r.DeleteCommands("session")); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Fatalf("reference: the server says %v to a delete", err)
			}
			if err := r.Delete(ctx, "session"); err != nil {
				t.Errorf("reference: a delete that the server refuses returns %v", err)
			}
			wantValue(t, r, "session", "v")

			cache := b.Cache(t, wildkey.Options{})
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("session"), "v")))
			n, err := backend.Cache(t, reader, wildkey.Options{}).Delete(ctx, wildkey.K("session"))
			var refusal redis.Error
			if !errors.As(err, &refusal) || n != 0 {
				t.Errorf("a delete that the server refuses returns %d, %v", n, err)
			}
			backend.WantAll(t, cache, "*", "session=v")
		})
	})
}

func TestFlawAsyncChangesOrder(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// Of two writes of one key the first is slow on its way to the server.
		slowFirst := func() (client *redis.Client, entered, release chan struct{}) {
			entered, release = make(chan struct{}), make(chan struct{})
			var first sync.Once
			return b.Hooked(t, backend.Hook{Before: func([]redis.Cmder) {
				slow := false
				first.Do(func() { slow = true }) // not inside Do, which would hold up the second
				if slow {
					close(entered)
					<-release
				}
			}}), entered, release
		}

		r := newReference(b)
		client, entered, release := slowFirst()
		r.Client = client
		done := make(chan struct{})
		r.Start = func(task func()) {
			go func() { task(); done <- struct{}{} }()
		}
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "first")))
		<-entered
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "second")))
		<-done
		close(release)
		<-done
		wantValue(t, r, "k", "first")

		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		client, entered, release = slowFirst()
		w := writer.New(backend.Cache(t, client, wildkey.Options{}), writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k"), "first"), backend.Rec(wildkey.K("gone"), "v")))
		<-entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k"), "second")))
		backend.Must(t, w.Delete(ctx, wildkey.K("gone")))
		close(release)
		backend.Must(t, w.Close(ctx))
		backend.WantAll(t, cache, "*", "k=second")
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

func TestFlawEvictedIndexHidesRecords(t *testing.T) {
	const sessions = 12
	value := strings.Repeat("v", 200_000)
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r := newReference(b)
		for i := range sessions {
			backend.Must(t, r.Put(ctx, 2*time.Hour, refRecord(fmt.Sprint(i), value)))
		}
		// One shorter session, already over, leaves its TTL to the index.
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("short", "v")))
		backend.Must(t, r.Delete(ctx, "short"))
		index := reference.IndexName([]string{r.Namespace})
		if left := b.Client.PTTL(ctx, index).Val(); left <= 0 {
			t.Errorf("reference: its index has the PTTL %v", left)
		}
		evictByTTL(t, b)
		if n := b.Client.Exists(ctx, index).Val(); n != 0 {
			t.Error("reference: its index survives")
		}
		live := 0
		for i := range sessions {
			if _, err := r.Get(ctx, fmt.Sprint(i)); err == nil {
				live++
			}
		}
		if live == 0 {
			t.Error("reference: no record is left")
		}
		wantFound(t, r, reference.Wild)
		b.Do(t, "FLUSHALL")

		cache := b.Cache(t, wildkey.Options{})
		for i := range sessions {
			backend.Must(t, cache.Put(ctx, wildkey.Record{Key: wildkey.K(i), Value: []byte(value), TTL: 2 * time.Hour}))
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("short"), "v")))
		_, err := cache.Delete(ctx, wildkey.K("short"))
		backend.Must(t, err)
		evictByTTL(t, b)
		if left := b.Client.PTTL(ctx, "{test}/keys").Val(); left != -1 {
			t.Errorf("the index has the PTTL %d", left)
		}
		var want, got []string
		for i := range sessions {
			if _, err := cache.Get(ctx, wildkey.K(i)); err == nil {
				want = append(want, fmt.Sprint(i))
			}
		}
		if len(want) == 0 || len(want) == sessions {
			t.Errorf("of %d records %d are live: the pressure is not what it should be", sessions, len(want))
		}
		all, err := cache.Collect(ctx, wildkey.MustParsePattern("*"))
		backend.Must(t, err)
		for _, entry := range all {
			got = append(got, entry.Key.String())
			if string(entry.Value) != value {
				t.Errorf("%v has a value of %d bytes", entry.Key, len(entry.Value))
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("found %q, live are %q", got, want)
		}
	})
}

func TestFlawScanReturnsDuplicates(t *testing.T) {
	const records = 4_000
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		// While one client scans, others log out everybody but those whom the
		// scan has met. The table shrinks; a scan goes on by buckets, and old
		// buckets that it has seen are now part of new ones that it has not.
		r, others := newReference(b), newReference(b)
		var batch []reference.Record
		for i := range records {
			batch = append(batch, refRecord(fmt.Sprintf("k%04d", i), "v"))
		}
		backend.Must(t, r.Put(ctx, time.Hour, batch...))
		index := reference.IndexName([]string{r.Namespace})
		scans := 0
		r.Client = b.Hooked(t, backend.Hook{After: func(commands []redis.Cmder) {
			scan, ok := commands[0].(*redis.ScanCmd)
			if !ok {
				return
			}
			if scans++; scans > 1 {
				return
			}
			met, _ := scan.Val()
			for chunk := range slices.Chunk(batch, 100) {
				var deletes [][]any
				for _, record := range chunk {
					if !slices.Contains(met, reference.EncodePath(others.Path(record.Key)[1:])) {
						deletes = append(deletes, others.DeleteCommands(record.Key)...)
					}
				}
				// Each look-up moves a few buckets into the smaller table.
				for range 500 {
					deletes = append(deletes, []any{"ZSCORE", index, "k"})
				}
				if err := others.Pipeline(ctx, deletes); err != nil && !errors.Is(err, redis.Nil) {
					t.Error(err)
				}
			}
		}})
		found, err := r.All(ctx, reference.Wild)
		backend.Must(t, err)
		names := refNames(found)
		if distinct := slices.Compact(slices.Clone(names)); len(distinct) == len(names) {
			t.Errorf("reference: %d records, none twice, in %d scans", len(names), scans)
		}

		cache := b.Cache(t, wildkey.Options{PageLimit: 10, CallRecords: records})
		var puts []wildkey.Record
		for _, record := range batch {
			puts = append(puts, backend.Rec(wildkey.K(record.Key), record.Value))
		}
		backend.Must(t, cache.Put(ctx, puts...))
		page, err := cache.Page(ctx, wildkey.MustParsePattern("*"), wildkey.PageOptions{})
		backend.Must(t, err)
		met := backend.Entries(page.Entries)
		var doomed []wildkey.Key
		for _, put := range puts {
			if !slices.Contains(met, put.Key.String()+"=v") {
				doomed = append(doomed, put.Key)
			}
		}
		// All but a few that the walk has still to meet.
		_, err = cache.Delete(ctx, doomed[:len(doomed)-20]...)
		backend.Must(t, err)
		want := slices.Clone(met)
		for _, key := range doomed[len(doomed)-20:] {
			want = append(want, key.String()+"=v")
		}
		got := met
		for page.Cursor != "" {
			page, err = cache.Page(ctx, wildkey.MustParsePattern("*"), wildkey.PageOptions{Cursor: page.Cursor})
			backend.Must(t, err)
			got = append(got, backend.Entries(page.Entries)...)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("pages have %q, not %q", got, want)
		}
	})
}

func TestFlawRoundTripPerTenEntries(t *testing.T) {
	const records = 1_000
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		trips := 0
		client := b.Hooked(t, backend.Hook{After: func([]redis.Cmder) { trips++ }})

		r := newReference(b)
		r.Client = client
		var batch []reference.Record
		for i := range records {
			batch = append(batch, refRecord(fmt.Sprint("k", i), "v"))
		}
		backend.Must(t, r.Put(ctx, time.Hour, batch...))
		trips = 0
		found, err := r.All(ctx, reference.Wild)
		backend.Must(t, err)
		if len(found) != records || trips < records/10 {
			t.Errorf("reference: %d records in %d round trips", len(found), trips)
		}

		cache := backend.Cache(t, client, wildkey.Options{})
		backend.Warm(t, cache)
		for i := range records {
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(fmt.Sprint("k", i)), "v")))
		}
		trips = 0
		all, err := cache.Collect(ctx, wildkey.MustParsePattern("*"))
		backend.Must(t, err)
		// Two pages of 500; a full one may be the last: only the next, empty, tells.
		if len(all) != records || trips > 3 {
			t.Errorf("%d records in %d round trips", len(all), trips)
		}
	})
}

func TestFlawEarlyWildcardReadsEverything(t *testing.T) {
	const users = 20
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		read := 0
		client := b.Hooked(t, backend.Hook{After: func(commands []redis.Cmder) {
			switch command := commands[0].(type) {
			case *redis.ScanCmd:
				members, _ := command.Val()
				read += len(members) / 2
			case *redis.Cmd:
				if reply, ok := command.Val().([]any); ok && len(reply) == 4 { // of match.lua
					read += int(reply[1].(int64))
				}
			}
		}})
		r := newReference(b)
		r.Client = client
		cache := backend.Cache(t, client, wildkey.Options{CallRecords: 10_000, PageReads: 99_999})
		backend.Must(t, cache.Load(ctx))

		// The same query over the same sessions, beside ever more of other things.
		var byReference, byCache []int
		for _, events := range []int{5, 50} {
			var batch []reference.Record
			var puts []wildkey.Record
			add := func(user int, kind string, n int) {
				for i := range n {
					batch = append(batch, refRecord([]string{"user", fmt.Sprint(user), kind, fmt.Sprint(i)}, "v"))
					puts = append(puts, backend.Rec(wildkey.K("user", user, kind, i), "v"))
				}
			}
			for user := range users {
				add(user, "event", events)
				add(user, "session", 2)
				add(user, "token", events)
			}
			backend.Must(t, r.Put(ctx, time.Hour, batch...))
			backend.Must(t, cache.Put(ctx, puts...))

			read = 0
			found, err := r.All(ctx, []string{"user", reference.Wild, "session", reference.Wild})
			backend.Must(t, err)
			if len(found) != 2*users || read < len(batch) {
				t.Errorf("reference: %d sessions by reading %d entries of %d", len(found), read, len(batch))
			}
			byReference = append(byReference, read)

			read = 0
			all, err := cache.Collect(ctx, wildkey.MustParsePattern("user:*:session:*"))
			backend.Must(t, err)
			// A leap to each user, one to the sessions there, and what the chunk
			// of four that finds them reads on.
			if len(all) != 2*users || read == 0 || read > 8*(users+1) {
				t.Errorf("%d sessions by reading %d entries of %d", len(all), read, len(puts))
			}
			byCache = append(byCache, read)
		}
		if byReference[1] < 5*byReference[0] {
			t.Errorf("reference: reads %d with ten times the events", byReference)
		}
		if byCache[1] != byCache[0] {
			t.Errorf("reads %d with ten times the events", byCache)
		}
	})
}

func TestFlawStringAndListCollide(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		r := newReference(b)
		list := []string{"k"}
		backend.Must(t, r.Put(ctx, time.Hour, refRecord("k", "of the string")))
		backend.Must(t, r.Put(ctx, time.Hour, refRecord(list, "of the list")))
		wantValue(t, r, "k", "of the list")
		found, err := r.All(ctx, reference.Wild)
		backend.Must(t, err)
		if len(found) != 1 || found[0].Key != "k" {
			t.Errorf("reference: two keys put, found %v", found)
		}
		backend.Must(t, r.Delete(ctx, list))
		if _, err := r.Get(ctx, "k"); !errors.Is(err, redis.Nil) {
			t.Errorf("reference: the string outlives the list: %v", err)
		}

		// A Key is a list; what is a list already is no segment of another.
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("k"), "of the string")))
		if err := cache.Put(ctx, backend.Rec(wildkey.K(list), "of the list")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("a list as a segment: %v, not ErrInvalidKey", err)
		}
		backend.WantAll(t, cache, "**", "k=of the string")
		// And keys that differ stay apart, however much they look alike.
		alike := []wildkey.Key{{"a", "b"}, {"a:b"}, {"a%3Ab"}, {"a", ":b"}, {"k", "k"}, {`["k"]`}, {"{k}"}}
		for i, key := range alike {
			backend.Must(t, cache.Put(ctx, backend.Rec(key, fmt.Sprint(i))))
		}
		for i, key := range alike {
			if value, err := cache.Get(ctx, key); err != nil || string(value) != fmt.Sprint(i) {
				t.Errorf("%q holds %q, %v", key, value, err)
			}
		}
		all, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		for _, entry := range all {
			i := slices.IndexFunc(alike, func(key wildkey.Key) bool { return slices.Equal(key, entry.Key) })
			if i < 0 && entry.Key.String() != "k" || i >= 0 && string(entry.Value) != fmt.Sprint(i) {
				t.Errorf("found %q with %q", entry.Key, entry.Value)
			}
		}
		if len(all) != len(alike)+1 {
			t.Errorf("found %d records of %d", len(all), len(alike)+1)
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

// TestFlawIndexKeepsWhatWasEvicted until it fills the memory. The reference's index
// is evicted before, as its TTL allows (TestFlawEvictedIndexHidesRecords), so here
// it has none, as a tag set has none. A put of Wildkey forgets some of what is
// gone: there is always room for the next one.
func TestFlawIndexKeepsWhatWasEvicted(t *testing.T) {
	const batch = 250
	value := strings.Repeat("v", 400)
	name := func(n int) string { return fmt.Sprintf("session-%032d", n) }
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		b.Do(t, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
		b.LimitMemory(t, "8mb")

		r := newReference(b)
		index := reference.IndexName([]string{r.Namespace})
		var full error
		puts := 0
		for ; full == nil && puts < 500_000; puts += batch {
			var commands [][]any
			for i := range batch {
				for _, command := range r.PutCommands(time.Hour, refRecord(name(puts+i), value)) {
					if command[0] != "PEXPIRE" {
						commands = append(commands, command)
					}
				}
			}
			full = r.Pipeline(ctx, commands)
		}
		entries, live := b.Client.ZCard(ctx, index).Val(), b.Client.DBSize(ctx).Val()-1
		t.Logf("reference: %v, at put %d, with %d entries of %d records", full, puts, entries, live)
		if !redis.IsOOMError(full) || live*4 > entries {
			t.Errorf("reference: %v with %d entries of %d records: no index has filled the memory", full, entries, live)
		}
		b.Do(t, "FLUSHALL")
		b.Do(t, "CONFIG", "RESETSTAT")

		cache := b.Cache(t, wildkey.Options{})
		for n := 0; n < 2*puts; n += batch {
			var records []wildkey.Record
			for i := range batch {
				records = append(records, backend.Rec(wildkey.K(name(n+i)), value))
			}
			if err := cache.Put(ctx, records...); err != nil {
				t.Fatalf("after %d puts: %v", n, err)
			}
		}
		b.LimitMemory(t, "0") // or each look would evict some more
		report, err := invariant.Check(ctx, b.Client)
		backend.Must(t, err)
		t.Logf("after %d puts %d entries of %d records", 2*puts, report.Entries, report.Records)
		if !evicted(t, b) || report.Stale() > report.Records {
			t.Errorf("after %d puts %d entries of %d records", 2*puts, report.Entries, report.Records)
		}
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != report.Records || err != nil {
			t.Errorf("Count: %d, %v, want %d", n, err, report.Records)
		}
	})
}

// The engine is one node that serves every slot and looks at none, so this
// takes a server in cluster mode; one that has all slots will do, since a
// command's keys must share a slot even there.
func TestFlawNoHashTag(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		slots := []any{"CLUSTER", "ADDSLOTS"}
		for slot := range 16384 {
			slots = append(slots, slot)
		}
		b.Do(t, slots...)
		backend.Eventually(t, "cluster_state:ok", func() bool {
			return strings.Contains(b.Client.ClusterInfo(ctx).Val(), "cluster_state:ok")
		})

		r := newReference(b)
		backend.Must(t, r.Put(ctx, time.Hour, refRecord([]string{"user", "1"}, "v"), refRecord([]string{"user", "2"}, "v")))
		wantValue(t, r, []string{"user", "1"}, "v")
		if found, err := r.All(ctx, []string{"user", reference.Wild}); !redis.HasErrorPrefix(err, "CROSSSLOT") {
			t.Errorf("reference: all returns %v, %v", found, err)
		}

		cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{b.Server.Addr}})
		t.Cleanup(func() { cluster.Close() })
		for name, client := range map[string]redis.UniversalClient{"node": b.Client, "cluster": cluster} {
			t.Run(name, func(t *testing.T) { everyVerb(t, client) })
		}
	}, "--cluster-enabled", "yes")
}

// everyVerb calls each verb of a Cache on several keys, so that none gets by
// with one slot by chance.
func everyVerb(t *testing.T, client redis.UniversalClient) {
	cache := backend.Cache(t, client, wildkey.Options{})
	backend.Must(t, cache.Load(ctx))
	keys := []wildkey.Key{wildkey.K("user", 1), wildkey.K("user", 2), wildkey.K("user", 3), wildkey.K("zone", 1)}
	backend.Must(t, cache.Put(ctx, backend.Rec(keys[0], "1"), backend.Rec(keys[1], "2"), backend.Rec(keys[2], "3"), backend.Rec(keys[3], "z")))
	backend.WantAll(t, cache, "user:*", "user:1=1", "user:2=2", "user:3=3")

	value, err := cache.Get(ctx, keys[0])
	backend.Must(t, err)
	values, err := cache.GetMany(ctx, keys...)
	backend.Must(t, err)
	if got := fmt.Sprintf("%s %s", value, values); got != "1 [1 2 3 z]" {
		t.Errorf("Get and GetMany: %s", got)
	}
	page, err := cache.Page(ctx, wildkey.MustParsePattern("**"), wildkey.PageOptions{Limit: 3})
	backend.Must(t, err)
	if len(page.Entries) != 3 || page.Cursor == "" {
		t.Errorf("Page: %+v", page)
	}
	for key, err := range cache.MatchKeys(ctx, wildkey.MustParsePattern("zone:*")) {
		if err != nil || key.String() != "zone:1" {
			t.Errorf("MatchKeys: %v, %v", key, err)
		}
	}
	counts := []struct {
		name string
		want int
		call func() (int, error)
	}{
		{"Touch", 4, func() (int, error) { return cache.Touch(ctx, 2*time.Hour, keys...) }},
		{"TouchMatch", 3, func() (int, error) { return cache.TouchMatch(ctx, time.Hour, wildkey.MustParsePattern("user:*")) }},
		{"Count", 4, func() (int, error) { return cache.Count(ctx, wildkey.MustParsePattern("**")) }},
		{"Reindex", 4, func() (int, error) { return admin.Reindex(ctx, client, cache.Layout()) }},
		{"Delete", 2, func() (int, error) { return cache.Delete(ctx, keys[0], keys[3]) }},
		{"DeleteMatch", 2, func() (int, error) { return cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*")) }},
	}
	for _, count := range counts {
		if n, err := count.call(); err != nil || n != count.want {
			t.Errorf("%s: %d, %v; want %d", count.name, n, err, count.want)
		}
	}
	w := writer.New(cache, writer.Options{})
	backend.Must(t, w.Put(ctx, backend.Rec(keys[0], "1"), backend.Rec(keys[3], "z")))
	backend.Must(t, w.Delete(ctx, keys[0]))
	backend.Must(t, w.Close(ctx))
	value, err = cache.Take(ctx, keys[3])
	backend.Must(t, err)
	if string(value) != "z" {
		t.Errorf("Take: %q", value)
	}
	_, err = cache.Sweep(ctx)
	backend.Must(t, err)
	backend.WantAll(t, cache, "**")
}

// newReference returns a reference whose clock agrees with the server's.
func newReference(b *backend.Backend) *reference.Store {
	r := &reference.Store{Client: b.Client, Namespace: "cache", Now: time.Now}
	if b.Engine != nil {
		r.Now = b.Engine.Now
	}
	return r
}

func refRecord(key any, value string) reference.Record {
	return reference.Record{Key: key, Value: value}
}

func wantValue(t testing.TB, r *reference.Store, key any, want string) {
	t.Helper()
	if got, err := r.Get(ctx, key); err != nil || got != want {
		t.Errorf("reference: %v holds %q, %v; want %q", key, got, err, want)
	}
}

func wantFound(t testing.TB, r *reference.Store, pattern any, want ...string) {
	t.Helper()
	found, err := r.All(ctx, pattern)
	backend.Must(t, err)
	if got := refNames(found); !slices.Equal(got, want) {
		t.Errorf("reference: %v finds %.200q, not %q", pattern, got, want)
	}
}

// refNames writes records as "part:part=value", sorted.
func refNames(records []reference.Record) (names []string) {
	for _, record := range records {
		key, ok := record.Key.(string)
		if !ok {
			key = strings.Join(record.Key.([]string), ":")
		}
		names = append(names, key+"="+record.Value)
	}
	slices.Sort(names)
	return names
}

// awaitGone lets time go by until the record has expired.
func awaitGone(t testing.TB, b *backend.Backend, key string) {
	t.Helper()
	if b.Engine != nil {
		b.Engine.Advance(b.Client.PTTL(ctx, key).Val() + time.Millisecond)
	}
	backend.Eventually(t, "the expiry of "+key, func() bool { return b.Client.PTTL(ctx, key).Val() == -2 })
}

// evictByTTL has the server evict at least one key as maxmemory-policy
// volatile-ttl does. The engine evicts nothing by itself; there the key that
// the policy takes first, the one with the least time left, is deleted by hand.
func evictByTTL(t testing.TB, b *backend.Backend) {
	t.Helper()
	if b.Engine != nil {
		first, least := "", time.Duration(-1)
		for _, key := range b.Client.Keys(ctx, "*").Val() {
			if left := b.Client.PTTL(ctx, key).Val(); left >= 0 && (first == "" || left < least) {
				first, least = key, left
			}
		}
		b.Do(t, "DEL", first)
		return
	}
	b.Do(t, "CONFIG", "RESETSTAT")
	b.Do(t, "CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
	// A sample as large as the keyspace of the test makes the choice exact.
	b.Do(t, "CONFIG", "SET", "maxmemory-samples", "64")
	b.LimitMemory(t, "8mb")
	defer b.LimitMemory(t, "0")
	// The ballast has no TTL, so what can be evicted is the test's own. A piece
	// is small against a record: the pressure ends with the first few keys.
	for i := 0; !evicted(t, b); i++ {
		if i == 2_000 {
			t.Fatal("nothing has been evicted")
		}
		b.Do(t, "SET", fmt.Sprint("ballast", i), strings.Repeat("b", 10_000))
	}
}

func evicted(t testing.TB, b *backend.Backend) bool {
	t.Helper()
	stats := b.Do(t, "INFO", "stats").(string)
	return !strings.Contains(stats, "evicted_keys:0\r\n")
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

// atEveryCut makes a call over a connection that breaks after 0, 1, 2... bytes
// of it were sent, up to all of them, each time on an empty keyspace, and has
// the result checked over a whole one.
func atEveryCut(t *testing.T, b *backend.Backend, call func(*redis.Client) error, check func(client *redis.Client, cut int64)) {
	t.Helper()
	const uncut = 1 << 30
	var budget atomic.Int64
	length := int64(1)
	for cut := int64(-1); cut <= length; cut++ {
		on := *b
		if b.Engine != nil {
			on.Engine = b.Engine.Clone()
			on.Client = on.Engine.Client()
		} else {
			b.Do(t, "FLUSHALL")
		}
		budget.Store(uncut)
		client := on.NewClient(t, func(o *redis.Options) {
			o.MaxRetries, o.PoolSize, o.ReadTimeout = -1, 1, time.Minute
			dial := o.Dialer
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := dial(ctx, network, addr)
				return &breakingConn{conn, &budget}, err
			}
		})
		backend.Must(t, client.Ping(ctx).Err())
		if cut < 0 { // the length of the call
			budget.Store(uncut)
			backend.Must(t, call(client))
			length = uncut - budget.Load()
		} else {
			budget.Store(cut)
			if err := call(client); err == nil {
				t.Errorf("no error, after %d bytes of %d", cut, length)
			}
		}
		client.Close()
		if b.Engine != nil {
			// Close waits until the engine has run all that reached it.
			on.Client.Close()
			on.Engine.Close()
			on.Engine = on.Engine.Clone()
			on.Client = on.Engine.Client()
		}
		if cut >= 0 {
			check(on.Client, cut)
		}
		if b.Engine != nil {
			on.Client.Close()
			on.Engine.Close()
		}
	}
	if length < 100 {
		t.Fatalf("the call has %d bytes", length)
	}
}

// breakingConn breaks when so many more bytes have been written.
type breakingConn struct {
	net.Conn
	budget *atomic.Int64
}

func (c *breakingConn) Write(p []byte) (n int, err error) {
	left := c.budget.Load()
	if int64(len(p)) < left {
		c.budget.Add(-int64(len(p)))
		return c.Conn.Write(p)
	}
	if left > 0 {
		n, err = c.Conn.Write(p[:left])
	}
	c.budget.Store(0)
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		// When the server closes its end, it has run all that reached it.
		tcp.CloseWrite()
		_, err = io.Copy(io.Discard, tcp)
	}
	c.Conn.Close()
	if n < len(p) && err == nil {
		err = net.ErrClosed
	}
	return n, err
}
