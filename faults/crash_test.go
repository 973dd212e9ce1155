package faults

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestNoFault is the load alone: whatever it finds later is not of its own making.
func TestNoFault(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		l := newLoad(t, client, loadOptions{})
		table := newRow(t, "none")
		for range rounds(2, 10) {
			l.run(ctx, 500)
			table.add(l, l.judgeWhole(t, client))
		}
		if len(table.told) != 1 || table.mine > 0 {
			t.Errorf("without a fault the clients were told %v", table.told)
		}
	})
}

// TestKilled kills the server in the middle of writes, each of which it has
// synced to disk before it answers, and starts it again.
func TestKilled(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialerRetries: 1})
		t.Cleanup(func() { client.Close() })
		l := newLoad(t, client, loadOptions{})
		table := newRow(t, "SIGKILL, appendfsync always")
		for n := range rounds(8, 50) {
			l.during(func() {
				if !l.waitForWrites(int64(100 + 37*n%300)) {
					t.Error("no load")
				}
				server.Kill()
			})
			must(t, server.Restart())
			table.add(l, l.judgeWhole(t, server.Client(t)))
		}
		if table.told["done"] == 0 || len(table.told) < 2 {
			t.Errorf("the clients were told %v: the server was not killed among their calls", table.told)
		}
	}, "--appendonly", "yes", "--appendfsync", "always")
}

// TestScriptFlush has the server forget all scripts, over and over.
func TestScriptFlush(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		l := newLoad(t, client, loadOptions{})
		table := newRow(t, "SCRIPT FLUSH")
		flushes := rounds(50, 500)
		for range flushes {
			l.during(func() {
				if !l.waitForWrites(20) {
					t.Error("no load")
				}
				must(t, client.ScriptFlush(ctx).Err())
			})
		}
		table.add(l, l.judgeWhole(t, client))
		table.rounds = flushes
		onlySay(t, table, "done")
	})
}
