package reference

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/reference"
)

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
