package faults

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// setMemory sets maxmemory to so many bytes more than are used now; 0 lifts it.
func setMemory(t *testing.T, client *redis.Client, more int) {
	t.Helper()
	limit := 0
	if more != 0 {
		limit = max(1, usedMemory(t, client)+more)
	}
	must(t, client.ConfigSet(ctx, "maxmemory", strconv.Itoa(limit)).Err())
}

func usedMemory(t *testing.T, client *redis.Client) int {
	t.Helper()
	return info(t, client, "memory", "used_memory")
}

func info(t *testing.T, client *redis.Client, section, field string) int {
	t.Helper()
	text, err := client.Info(ctx, section).Result()
	must(t, err)
	_, rest, found := strings.Cut(text, "\n"+field+":")
	if !found {
		t.Fatalf("INFO %s has no %s", section, field)
	}
	digits, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(digits)
	must(t, err)
	return n
}

// TestMemoryFull gives the server less memory than the clients write. Under
// noeviction it refuses what would write more; the load itself checks that it
// refuses no Delete, DeleteMatch or Take. Then it is given more.
func TestMemoryFull(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		l := newLoad(t, client, loadOptions{bytes: 20_000})
		table := newRow(t, "memory full, noeviction")
		table.repaired = "more memory"
		for n := range rounds(2, 20) {
			setMemory(t, client, 2<<20)
			if n%2 == 1 {
				setMemory(t, client, -1<<40) // none at all
			}
			l.during(func() {
				waitFor(t, func() bool { return l.toldOf("OOM") > 200 })
			})
			mustFree(t, client)
			// With more memory, but nothing written since.
			setMemory(t, client, 0)
			table.add(l, l.judgeWhole(t, client))
			l.run(ctx, 50)
			if l.toldOf("OOM") > 0 {
				t.Errorf("with enough memory the clients were told %v", l.told)
			}
			table.add(l, l.judgeWhole(t, client))
			table.rounds-- // that was the same
		}
	}, "--maxmemory-policy", "noeviction")
}

// mustFree has a full server do what frees memory, in a namespace of its own.
func mustFree(t *testing.T, client *redis.Client) {
	t.Helper()
	on := newCaches(t, client)
	was := client.ConfigGet(ctx, "maxmemory").Val()["maxmemory"]
	setMemory(t, client, 0)
	must(t, on.first.Put(ctx, put("old", wildkey.Condition{}, "a", "b", "c")...))
	must(t, client.ConfigSet(ctx, "maxmemory", "1").Err())
	if err := on.first.Put(ctx, put("new", wildkey.Condition{}, "a", "d")...); !redis.IsOOMError(err) {
		t.Errorf("Put on a full server: %v", err)
	}
	if n, err := on.first.Touch(ctx, time.Hour, session("a")); !redis.IsOOMError(err) {
		t.Errorf("Touch on a full server: %d, %v", n, err)
	}
	if value, err := on.first.Take(ctx, session("a")); string(value) != "old" || err != nil {
		t.Errorf("Take on a full server: %q, %v", value, err)
	}
	if n, err := on.first.Delete(ctx, session("b"), session("d")); n != 1 || err != nil {
		t.Errorf("Delete on a full server: %d, %v", n, err)
	}
	must(t, first(on.first.Sweep(ctx)))
	if n, err := on.first.DeleteMatch(ctx, everything); n != 1 || err != nil {
		t.Errorf("DeleteMatch on a full server: %d, %v", n, err)
	}
	must(t, client.ConfigSet(ctx, "maxmemory", was).Err())
}

// TestEviction gives the server less memory than the clients write, and lets it
// evict. Under volatile-* nothing needs repair: the indexes have no TTL and stay.
// Under allkeys-* an index goes too, in the end, which the test sees to: then
// there are records that no pattern finds, wildkey check says so, and Reindex
// brings them back.
func TestEviction(t *testing.T) {
	for _, policy := range []string{"volatile-lru", "allkeys-lru", "allkeys-lfu"} {
		t.Run(policy, func(t *testing.T) {
			eachServer(t, func(t *testing.T, server *redisserver.Server) {
				evict(t, server.Client(t), policy)
			}, "--maxmemory-policy", policy, "--maxmemory-samples", "64")
		})
	}
}

func evict(t *testing.T, client *redis.Client, policy string) {
	l := newLoad(t, client, loadOptions{bytes: 20_000, evicts: true})
	table := newRow(t, "eviction by "+policy)
	for range rounds(1, 5) {
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
		must(t, first(l.cache.Reindex(ctx)))
		table.add(l, l.judgeWhole(t, client))
		l.run(ctx, 100)

		evictIndex(t, client, l)
		v := l.judge(t, client, false)
		table.breaches += v.breachCount()
		if len(v.hidden) == 0 || len(v.breaches) < len(v.hidden) || v.tool < len(v.hidden) || len(v.untrue) > 0 {
			t.Errorf("an index was evicted: %d records are hidden, %d breaches, wildkey check reports %d; untrue: %q",
				len(v.hidden), len(v.breaches), v.tool, v.untrue)
		}
		table.found = fmt.Sprintf("%d of them hidden with the index that was evicted, by wildkey check too",
			len(v.hidden))
		must(t, first(runTool(t, client, l.loadOptions.cache, "reindex")))
		table.repaired = "Reindex"
		l.judgeWhole(t, client)
	}
}

// evictIndex has the server evict the order index: it makes that the key that
// was used least, and takes memory away until it is gone. The sample is nearly
// as large as the keyspace, so the choice is as exact as what Redis remembers of
// a use: the second for LRU; for LFU a count, here of every use of a record.
func evictIndex(t *testing.T, client *redis.Client, l *load) {
	t.Helper()
	const index = "{faults}/keys"
	names := client.Keys(ctx, "{faults}:*").Val()
	time.Sleep(2100 * time.Millisecond)
	must(t, client.ConfigSet(ctx, "lfu-log-factor", "0").Err())
	for range 300 {
		must(t, client.Touch(ctx, names...).Err())
	}
	must(t, client.ConfigSet(ctx, "lfu-log-factor", "10").Err())
	for try := 0; client.Exists(ctx, index).Val() == 1; try++ {
		if try == 200 {
			left := len(client.Keys(ctx, "{faults}:*").Val())
			t.Fatalf("%s is not evicted, with %d of %d records left", index, left, len(names))
		}
		setMemory(t, client, -30_000) // a record or two
		must(t, client.Ping(ctx).Err())
	}
	setMemory(t, client, 0)
}
