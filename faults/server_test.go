package faults

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestPaused stops the server where it stands, for longer than the clients wait.
func TestPaused(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		for _, way := range []struct {
			fault   string
			retries int
		}{{"SIGSTOP past the client's timeout", -1}, {"the same, go-redis retries", 3}} {
			client := redis.NewClient(&redis.Options{
				Addr: server.Addr, MaxRetries: way.retries, ReadTimeout: 100 * time.Millisecond, MaxRetryBackoff: time.Millisecond,
			})
			defer client.Close()
			l := newLoad(t, client, loadOptions{
				replays: way.retries > 0, cache: wildkey.Options{Namespace: fmt.Sprint("retries", way.retries)},
			})
			table := newRow(t, way.fault)
			for range rounds(3, 20) {
				l.during(func() {
					if !l.waitForWrites(200) {
						t.Error("no load")
					}
					must(t, server.Pause())
					time.Sleep(500 * time.Millisecond)
					must(t, server.Resume())
				})
				settle(t, server)
				table.add(l, l.judgeWhole(t, server.Client(t)))
			}
			if table.told["timeout"] == 0 {
				t.Errorf("the clients were told %v", table.told)
			}
		}
	})
}

// settle waits until the server has done what had come to it before, for clients
// that are gone too: a connection is accepted in one turn of its loop and read
// in a later one, after all that were there earlier.
func settle(t *testing.T, server *redisserver.Server) {
	t.Helper()
	for range 3 {
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		must(t, client.Ping(ctx).Err())
		must(t, client.Close())
	}
}

// TestPausedCall is one call to a stopped server: the error is a timeout, and the
// call is done afterwards.
func TestPausedCall(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, ReadTimeout: time.Second})
		defer client.Close()
		cache := newCaches(t, client).first
		must(t, cache.Put(ctx, put("old", wildkey.Absent(), "a")...))
		must(t, server.Pause())
		var network net.Error
		err := cache.Put(ctx, put("new", wildkey.Present(), "a")...)
		if !errors.As(err, &network) || !network.Timeout() || errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Put: %v, want a timeout", err)
		}
		if _, err := cache.Get(ctx, session("a")); kindOf(err) != "timeout" {
			t.Errorf("Get: %v, want a timeout", err)
		}
		must(t, server.Resume())
		settle(t, server)
		value, err := newCaches(t, server.Client(t)).first.Get(ctx, session("a"))
		if string(value) != "new" || err != nil {
			t.Errorf("after the server went on there is %q, %v", value, err)
		}
	})
}

// TestPromoted makes a replica a master while others write to its own, after it
// has fallen behind; before that, clients read pages from it.
func TestPromoted(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		replica, err := server.Program.Run()
		must(t, err)
		t.Cleanup(replica.Close)
		client, onReplica := server.Client(t), replica.Client(t)
		host, port, err := net.SplitHostPort(server.Addr)
		must(t, err)
		l := newLoad(t, client, loadOptions{})
		reading, err := wildkey.New(onReplica, wildkey.Options{Namespace: "faults", TTL: time.Hour, LeaveStale: true})
		must(t, err)
		table := newRow(t, "replica promoted, it was behind")
		master := newRow(t, "the master that it was a replica of")
		for range rounds(3, 20) {
			must(t, onReplica.Do(ctx, "REPLICAOF", host, port).Err())
			pages := 0
			l.during(func() {
				waitFor(t, func() bool {
					return strings.Contains(onReplica.Info(ctx, "replication").Val(), "master_link_status:up")
				})
				pages = l.readWholes(t, reading, 200)
				must(t, replica.Pause())
				if !l.waitForWrites(300) {
					t.Error("no load")
				}
				promoted := make(chan error)
				go func() { promoted <- onReplica.Do(ctx, "REPLICAOF", "NO", "ONE").Err() }()
				time.Sleep(10 * time.Millisecond)
				err := replica.Resume()
				must(t, cmp.Or(<-promoted, err))
				pages += l.readWholes(t, reading, 200)
			})
			master.add(l, l.judgeWhole(t, client))
			v := l.judge(t, onReplica, true)
			v.mustBeWhole(t)
			table.add(l, v)
			table.told["done"] += pages
			must(t, client.FlushAll(ctx).Err())
			must(t, onReplica.FlushAll(ctx).Err())
			l.forget()
		}
	}, "--repl-diskless-sync-delay", "0")
}

// readWholes reads users whose sessions are written together, so many times, and
// everything in order.
func (l *load) readWholes(t *testing.T, cache *wildkey.Cache, times int) int {
	t.Helper()
	for n := range times {
		users := l.workers[n%len(l.workers)].users
		user := users[2*n%len(users)&^1]
		entries, err := cache.Collect(ctx, patternOf(user))
		must(t, err)
		l.seeWhole("Collect on the replica", user, valuesOf(user, entries))
	}
	last := ""
	for entry, err := range cache.Match(ctx, everything) {
		must(t, err)
		l.inOrder("Match on the replica", &last, entry.Key)
	}
	return times + 1
}

// waitFor waits until what must come has come.
func waitFor(t *testing.T, come func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !come(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// TestForeignKey puts a key of another kind in the place of the index while
// clients write. Everything but reading by key is refused and nothing is written, until
// it is gone and Reindex has been called.
func TestForeignKey(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		l := newLoad(t, client, loadOptions{})
		table := newRow(t, "a foreign key in the place of the index")
		table.repaired = "DEL, Reindex"
		for n := range rounds(2, 20) {
			index := l.cache.Layout().Index(0)
			l.during(func() {
				if !l.waitForWrites(200) {
					t.Error("no load")
				}
				// In one go, or a Put would come between.
				_, err := client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
					pipe.Del(ctx, index)
					if n%2 == 0 {
						return pipe.Set(ctx, index, "foreign", 0).Err()
					}
					return pipe.HSet(ctx, index, "foreign", "foreign").Err()
				})
				must(t, err)
				waitFor(t, func() bool { return l.toldOf("WRONGTYPE") > 200 })
			})
			must(t, client.Del(ctx, index).Err())
			if n := checkWithTool(t, client, l.loadOptions.cache); n == 0 {
				t.Errorf("wildkey check finds nothing wrong without %s", index)
			}
			must(t, first(admin.Reindex(ctx, client, l.cache.Layout())))
			table.add(l, l.judgeWhole(t, client))
		}
	})
}
