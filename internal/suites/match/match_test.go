// Package match holds pattern matching against a plain filter over all keys.
package match

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/draw"
)

var ctx = context.Background()

var matchCases = flag.Int("match-cases", 2_000, "how many random keyspaces with a pattern TestMatchIsAFilter tries")

// TestMatchIsAFilter draws keyspaces and patterns, and expects of a walk that
// leaps what a plain filter over all keys finds.
func TestMatchIsAFilter(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		seed := uint64(time.Now().UnixNano())
		cases := *matchCases
		if b.Server != nil {
			cases /= 10 // a round trip costs more than the engine does
		}
		for n := range uint64(cases) {
			checkMatch(t, b, seed+n)
			if t.Failed() {
				t.Fatalf("reproduce with: go test -run 'FuzzMatch/seed' ./internal/suites/match, after f.Add(uint64(%d))", seed+n)
			}
		}
	})
}

// FuzzMatch is the same on seeds that the fuzzer chooses.
func FuzzMatch(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) { checkMatch(t, b, seed) })
	})
}

// checkMatch draws a keyspace, a pattern, and bounds so small that cursors fall
// in odd places, from the seed.
func checkMatch(t *testing.T, b *backend.Backend, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	b.Do(t, "FLUSHALL")
	few := make([]string, 1+random.IntN(6))
	for i := range few {
		few[i] = draw.Segments[random.IntN(len(draw.Segments))]
	}
	segment := func() string { return few[random.IntN(len(few))] }
	var above wildkey.Key
	if random.IntN(20) == 0 { // a walk does without string.find
		above = slices.Repeat(wildkey.Key{"a"}, 100)
	}
	newRecord := func() wildkey.Record {
		key := make(wildkey.Key, 1+random.IntN(5))
		for i := range key {
			key[i] = segment()
		}
		return backend.Rec(append(above[:len(above):len(above)], key...), strings.Repeat("v", random.IntN(12)))
	}
	cache := b.Cache(t, wildkey.Options{
		PageLimit: 1 + random.IntN(9), PageReads: 1 + random.IntN(9), CallBytes: 1 + random.IntN(60), CallRecords: 60,
		Shards: []int{1, 1, 1, 2, 3, 7}[random.IntN(6)], ShardSegments: 1 + random.IntN(3),
	})
	records := map[string]wildkey.Record{}
	var all []wildkey.Record
	for range random.IntN(40) {
		record := newRecord()
		all = append(all, record)
		records[record.Key.String()] = record
	}
	_, err := cache.PutEach(ctx, slices.Values(all), nil)
	backend.Must(t, err)

	pattern := draw.Pattern(t, random, segment, above)
	want := map[string]string{}
	for encoded, record := range records {
		if pattern.Matches(record.Key) {
			want[encoded] = string(record.Value)
		}
	}
	found, err := cache.Collect(ctx, pattern)
	backend.Must(t, err)
	got := map[string]string{}
	for _, entry := range found {
		got[entry.Key.String()] = string(entry.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-filter +All)\n%s", pattern, diff)
	}
	checkOrder(t, pattern, found)
	if n, err := cache.Count(ctx, pattern); n != len(want) || err != nil {
		t.Errorf("%s: Count: %d, %v, want %d", pattern, n, err, len(want))
	}

	// Writes between pages: what is left alone is met exactly once.
	found = nil
	for cursor, more := "", true; more; more = cursor != "" {
		limit := random.IntN(12)
		page, err := cache.Page(ctx, pattern, cursor, limit)
		backend.Must(t, err)
		if limit > 0 && len(page.Entries) > limit {
			t.Errorf("%s: a page has %d entries, its limit is %d", pattern, len(page.Entries), limit)
		}
		found, cursor = append(found, page.Entries...), page.Cursor
		if random.IntN(2) == 0 {
			record := newRecord()
			backend.Must(t, cache.Put(ctx, record))
			delete(want, record.Key.String())
		}
		if keys := slices.Sorted(maps.Keys(want)); len(keys) > 0 && random.IntN(2) == 0 {
			encoded := keys[random.IntN(len(keys))]
			_, err := cache.Delete(ctx, records[encoded].Key)
			backend.Must(t, err)
			delete(want, encoded)
		}
	}
	checkOrder(t, pattern, found)
	for _, entry := range found {
		if !pattern.Matches(entry.Key) {
			t.Errorf("%s: found %s", pattern, entry.Key)
		}
		if value, left := want[entry.Key.String()]; left && value != string(entry.Value) {
			t.Errorf("%s: %s has %q, want %q", pattern, entry.Key, entry.Value, value)
		}
		delete(want, entry.Key.String())
	}
	if len(want) > 0 {
		t.Errorf("%s: not found between writes to other records: %q", pattern, want)
	}

	left, err := cache.Count(ctx, pattern)
	backend.Must(t, err)
	if n, err := cache.DeleteMatch(ctx, pattern); n != left || err != nil {
		t.Errorf("%s: DeleteMatch: %d, %v, want %d", pattern, n, err, left)
	}
	if n, err := cache.Count(ctx, pattern); n != 0 || err != nil {
		t.Errorf("%s: Count after DeleteMatch: %d, %v", pattern, n, err)
	}
}

// checkOrder expects byte order, and with it that nothing comes twice.
func checkOrder(t *testing.T, pattern wildkey.Pattern, found []wildkey.Entry) {
	t.Helper()
	for i := 1; i < len(found); i++ {
		if found[i-1].Key.String() >= found[i].Key.String() {
			t.Errorf("%s: %s comes before %s", pattern, found[i-1].Key, found[i].Key)
		}
	}
}
