package faults

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestEviction gives the server less memory than the clients write, and lets it
// evict. Under volatile-* nothing needs repair: the index has no TTL and stays.
// Under allkeys-* it goes too, in the end, which the test sees to: then there are
// records that no pattern finds, wildkey check says so, and Reindex brings them
// back.
func TestEviction(t *testing.T) {
	for _, policy := range []string{"volatile-lru", "allkeys-lru", "allkeys-lfu"} {
		t.Run(policy, func(t *testing.T) {
			eachServer(t, func(t *testing.T, server *redisserver.Server) {
				evict(t, server.Client(t), policy)
			}, "--maxmemory-policy", policy)
		})
	}
}

func evict(t *testing.T, client *redis.Client, policy string) {
	l := newLoad(t, client, loadOptions{bytes: 20_000, evicts: true})
	table := newRow(t, "eviction by "+policy)
	for range rounds(1, 5) {
		must(t, client.FlushAll(ctx).Err())
		l.forget()
		must(t, client.ConfigResetStat(ctx).Err())
		setMemory(t, client, 2<<20)
		l.during(func() {
			waitFor(t, func() bool { return info(t, client, "stats", "evicted_keys") > 1_000 })
		})
		setMemory(t, client, 0)
		if strings.HasPrefix(policy, "volatile-") {
			table.add(l, l.judgeWhole(t, client))
			continue
		}
		// What the load wrote may have been hidden already; repair it, and start anew.
		must(t, first(admin.Reindex(ctx, client, l.cache.Layout())))
		table.add(l, l.judgeWhole(t, client))
		l.run(ctx, 100)

		evictIndex(t, client, policy, l.cache.Layout())
		v := l.judge(t, client, false)
		table.records = v.records
		table.breaches += v.breachCount()
		if len(v.hidden) == 0 || len(v.breaches) < len(v.hidden) || v.tool < len(v.hidden) || len(v.untrue) > 0 {
			t.Errorf("the index was evicted: %d records are hidden, %d breaches, wildkey check reports %d; untrue: %q",
				len(v.hidden), len(v.breaches), v.tool, v.untrue)
		}
		table.found = fmt.Sprintf("%d of them hidden with the index that was evicted, by wildkey check too", len(v.hidden))
		must(t, first(runTool(t, client, l.loadOptions.cache, "reindex")))
		table.repaired = "Reindex"
		l.judgeWhole(t, client)
	}
}

// evictIndex has the server evict the index: it makes that the key that was used
// least, as if nobody had put anything for long, and takes memory away until it is
// gone. The larger the sample, the fewer records go with it.
func evictIndex(t *testing.T, client *redis.Client, policy string, layout wildkey.Layout) {
	t.Helper()
	index := layout.Index(0)
	setMemory(t, client, 0)
	must(t, client.ConfigSet(ctx, "maxmemory-samples", "64").Err())
	used := map[string][]any{"allkeys-lru": {"IDLETIME", 3600}, "allkeys-lfu": {"FREQ", 0}}[policy]
	restore := append([]any{"RESTORE", index, 0, client.Dump(ctx, index).Val(), "REPLACE"}, used...)
	must(t, client.Do(ctx, restore...).Err())
	step := usedMemory(t, client) / 200
	for client.Exists(ctx, index).Val() == 1 {
		setMemory(t, client, -step)
		must(t, client.Ping(ctx).Err())
	}
	setMemory(t, client, 0)
	must(t, client.ConfigSet(ctx, "maxmemory-samples", "5").Err())
	if client.DBSize(ctx).Val() == 0 {
		t.Fatalf("%s has gone last", index)
	}
}

// TestTenTimesTheMemory puts new records until they are ten times as many as the
// memory holds. No put is refused. Under volatile-* nothing is hidden, and no more
// than a quarter of the index is stale. Under allkeys-* the index goes too, in the
// end, which the test sees to, and patterns then find only what was put later.
func TestTenTimesTheMemory(t *testing.T) {
	for n, policy := range []string{
		"volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random", "allkeys-lru", "allkeys-lfu", "allkeys-random",
	} {
		t.Run(policy, func(t *testing.T) {
			eachServer(t, func(t *testing.T, server *redisserver.Server) {
				client := server.Client(t)
				table := newRow(t, "ten times the memory, "+policy)
				for round := range rounds(1, 2) { // of two policies in turn, one has names that ascend
					must(t, client.FlushAll(ctx).Err())
					f := newFlood(t, client, (n+round)%2 == 1)
					f.fill(t)
					table.rounds++
					table.told["done"] += f.calls
					table.acknowledged += int64(len(f.keys))
					if strings.HasPrefix(policy, "volatile-") {
						f.mustBeKept(t, table)
					} else {
						f.mustBeRepaired(t, table, policy)
					}
				}
			}, "--maxmemory-policy", policy)
		})
	}
}

// flood puts new records without end: five sessions of one user after another, whose
// names ascend or are random.
type flood struct {
	*rand.Rand
	client    *redis.Client
	cache     *wildkey.Cache
	ascending bool
	keys      []wildkey.Key
	calls     int
	holds     int // so many records filled the memory
	// While the memory was full, and summed up over all looks at it:
	hidden         int // records that Get found and Match did not
	entries, stale int // of the index
}

const sessionsOfUser = 5

func newFlood(t *testing.T, client *redis.Client, ascending bool) *flood {
	t.Helper()
	// What it finds stale it leaves: the puts alone are to keep the index clean.
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "flood", LeaveStale: true})
	must(t, err)
	seed := rand.Uint64()
	t.Logf("the flood has the seed %d", seed)
	return &flood{Rand: rand.New(rand.NewPCG(seed, 0)), client: client, cache: cache, ascending: ascending}
}

// put puts so many new records at once.
func (f *flood) put(t *testing.T, n int) {
	t.Helper()
	var records []wildkey.Record
	for range n {
		at := len(f.keys)
		user := wildkey.K("user", fmt.Sprintf("%08d", at/sessionsOfUser))
		switch {
		case at%sessionsOfUser > 0:
			user = f.keys[at-1][:2]
		case !f.ascending:
			user = wildkey.K("user", fmt.Sprintf("%016x", f.Uint64()))
		}
		key := user.Child("session", fmt.Sprintf("%024x", at))
		f.keys = append(f.keys, key)
		ttl := []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}[f.IntN(3)]
		records = append(records, wildkey.Record{Key: key, Value: valueOf(key), TTL: ttl})
	}
	f.calls++
	if err := f.cache.Put(ctx, records...); err != nil {
		t.Fatalf("after %d records: %v", len(f.keys)-n, err)
	}
}

func valueOf(key wildkey.Key) []byte {
	return fmt.Appendf(nil, "%-400s", key)
}

// fill puts ten times as many records as the memory holds, and looks at some.
func (f *flood) fill(t *testing.T) {
	t.Helper()
	must(t, f.client.ConfigResetStat(ctx).Err())
	setMemory(t, f.client, rounds(4<<20, 24<<20))
	for info(t, f.client, "stats", "evicted_keys") == 0 {
		f.put(t, 10)
	}
	f.holds = len(f.keys)
	for len(f.keys) < 10*f.holds {
		f.put(t, []int{1, 10, 100}[f.IntN(3)])
		if f.IntN(8) == 0 {
			f.lookAtOne(t)
			entries, keys := f.client.ZCard(ctx, f.cache.Layout().Index(0)).Val(), f.client.DBSize(ctx).Val()
			f.entries, f.stale = f.entries+int(entries), f.stale+int(entries-(keys-1))
		}
	}
}

// lookAtOne holds what Match and Count find of one user against Get, and now and
// then deletes all that the user has. Records may vanish meanwhile: so Get comes last.
func (f *flood) lookAtOne(t *testing.T) {
	t.Helper()
	from := (len(f.keys) - 1 - f.IntN(f.holds)) / sessionsOfUser * sessionsOfUser
	keys := f.keys[from:min(from+sessionsOfUser, len(f.keys))]
	pattern := wildkey.Under(keys[0][:2])
	if f.IntN(10) == 0 {
		must(t, first(f.cache.DeleteMatch(ctx, pattern)))
		f.calls++
	}
	entries, err := f.cache.Collect(ctx, pattern)
	must(t, err)
	counted, err := f.cache.Count(ctx, pattern)
	must(t, err)
	values, err := f.cache.GetMany(ctx, keys...)
	must(t, err)
	f.calls += 3
	got := 0
	for _, value := range values {
		if value != nil {
			got++
		}
	}
	f.hidden += max(0, got-min(len(entries), counted))
}

// findings are what a flood has left.
type findings struct {
	live, hidden   int // records that Get finds, and those of them that Match does not
	entries, stale int // of the index
	breaches, tool int // of the invariant, and what wildkey check reports
}

// look holds Match, MatchKeys and Count against Get, when nothing vanishes any more.
func (f *flood) look(t *testing.T) (found findings) {
	t.Helper()
	report, err := checkInvariant(f.client)
	must(t, err)
	found.entries, found.breaches = report.Entries, len(report.Breaches)
	found.tool = checkWithTool(t, f.client, f.cache.Options())
	matched := map[string]bool{}
	for entry, err := range f.cache.Match(ctx, everything) {
		must(t, err)
		matched[entry.Key.String()] = true
		if string(entry.Value) != string(valueOf(entry.Key)) {
			t.Errorf("Match finds %.100q in %s", entry.Value, entry.Key)
		}
	}
	keys, most := 0, len(matched)
	for _, err := range f.cache.MatchKeys(ctx, everything) {
		must(t, err)
		keys++
	}
	counted, err := f.cache.Count(ctx, everything)
	must(t, err)
	for chunk := range slices.Chunk(f.keys, 250) {
		values, err := f.cache.GetMany(ctx, chunk...)
		must(t, err)
		for i, value := range values {
			if value == nil {
				continue
			}
			found.live++
			if name := chunk[i].String(); matched[name] {
				delete(matched, name)
			} else {
				found.hidden++
			}
		}
	}
	if keys != most || counted != most || len(matched) > 0 {
		t.Errorf("Match finds %d records, %d of which Get does not; MatchKeys finds %d, Count %d",
			most, len(matched), keys, counted)
	}
	found.stale = found.entries - (found.live - found.hidden)
	return found
}

// mustBeKept holds what a volatile-* policy has left: nothing is hidden, and of the
// index no more than a quarter was stale while the memory was full.
func (f *flood) mustBeKept(t *testing.T, table *row) {
	t.Helper()
	setMemory(t, f.client, 0)
	left := f.look(t)
	share := 100 * f.stale / f.entries
	if f.hidden+left.hidden+left.breaches+left.tool > 0 || 4*f.stale > f.entries {
		t.Errorf("after %d records: %+v; while the memory was full, %d were hidden and %d%% of the index stale",
			len(f.keys), left, f.hidden, share)
	}
	t.Logf("%d records put, ascending: %t; %+v, and while the memory was full %d%% of the index stale",
		len(f.keys), f.ascending, left, share)
	table.records, table.stale = left.live, left.stale
	table.breaches += f.hidden + left.hidden + left.breaches
	if table.found != "" {
		table.found += ", and "
	}
	names := map[bool]string{true: "ascend", false: "are random"}[f.ascending]
	table.found += fmt.Sprintf("%d%% of the index stale with names that %s", share, names)
}

// mustBeRepaired has the index evicted, which hides all but what is put later, and
// Reindex bring that back.
func (f *flood) mustBeRepaired(t *testing.T, table *row, policy string) {
	t.Helper()
	layout := f.cache.Layout()
	if policy != "allkeys-random" {
		evictIndex(t, f.client, policy, layout)
	}
	// By random the index goes unasked; what is put then makes a new one.
	for f.client.ZCard(ctx, layout.Index(0)).Val() >= f.client.DBSize(ctx).Val()-1 {
		f.put(t, 10)
	}
	setMemory(t, f.client, 0)
	f.put(t, 100)
	lost := f.look(t)
	if lost.hidden == 0 || lost.breaches != lost.hidden || lost.tool < lost.hidden {
		t.Errorf("the index was evicted: %+v", lost)
	}
	n, err := admin.Reindex(ctx, f.client, layout)
	must(t, err)
	left := f.look(t)
	if n < lost.live || left.live != lost.live || left.hidden+left.breaches+left.tool > 0 {
		t.Errorf("the index was evicted: %+v; Reindex has met %d records: %+v", lost, n, left)
	}
	table.records, table.stale = left.live, left.stale
	table.breaches += lost.breaches
	table.found = fmt.Sprintf("%s of them hidden with the index that was evicted, by wildkey check too",
		thousands(lost.hidden))
	table.repaired = "Reindex"
}
