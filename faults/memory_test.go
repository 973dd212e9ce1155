package faults

import (
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
// refuses nothing that deletes or touches. Then it is given more.
func TestMemoryFull(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		l := newLoad(t, client, loadOptions{bytes: 20_000})
		table := newRow(t, "memory full, noeviction")
		table.repaired = "more memory"
		for n := range rounds(2, 20) {
			if n%2 == 1 {
				setMemory(t, client, -1<<40) // none at all
			} else {
				must(t, client.FlushAll(ctx).Err())
				l.forget()
				setMemory(t, client, 2<<20)
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
	if n, err := on.first.Touch(ctx, time.Hour, session("a")); n != 1 || err != nil {
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
