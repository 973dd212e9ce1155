package reference

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/reference"
)

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
