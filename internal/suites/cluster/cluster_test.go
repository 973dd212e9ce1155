// Package cluster runs every verb on shards and on a Redis Cluster, while slots
// move and nodes go away.
package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
)

var ctx = context.Background()

// TestCluster runs on one cluster of three masters and three replicas. The
// subtests leave it whole, and empty.
func TestCluster(t *testing.T) {
	redisserver.EachCluster(t, 3, 1, func(t *testing.T, c *redisserver.Cluster) {
		for _, test := range []struct {
			name string
			run  func(t *testing.T, c *redisserver.Cluster)
		}{
			{"verbs", testClusterVerbs},
			{"scripts on every node", testScriptsOnEveryNode},
			{"scripts gone from one node", testScriptsGoneFromOneNode},
			{"scripts while a node is down", testScriptsWhileANodeIsDown},
			{"pages from replicas", testPagesFromReplicas},
			{"page while a slot moves", testPageWhileASlotMoves},
			{"reindex when a slot has moved", testReindexWhenASlotHasMoved},
			{"slot begins to move under a reindex", testSlotBeginsToMoveUnderAReindex},
			{"slot moves to a new node", testSlotMovesToANewNode},
		} {
			t.Run(test.name, func(t *testing.T) {
				client := c.Client(t, nil)
				test.run(t, c)
				report, err := invariant.CheckCluster(ctx, client)
				backend.Must(t, err)
				for _, breach := range report.Breaches {
					t.Error(breach)
				}
				flushAll(t, client)
			})
		}
	})
}

// reindex makes up for the move of a slot, which leaves records the time that
// they had left, and not the moment at which they were to expire.
func reindex(t *testing.T, cache *wildkey.Cache, records int) {
	t.Helper()
	if n, err := cache.Reindex(ctx); n != records || err != nil {
		t.Errorf("Reindex: %d, %v, want %d", n, err, records)
	}
}

// otherMaster returns a master that does not have the slot of the key.
func otherMaster(t *testing.T, c *redisserver.Cluster, key string) *redisserver.Server {
	t.Helper()
	owner, err := c.Owner(key)
	backend.Must(t, err)
	for _, node := range c.Nodes[:3] {
		if node != owner {
			return node
		}
	}
	return nil
}

// testPageWhileASlotMoves: a page says that the slot moves, or is right.
func testPageWhileASlotMoves(t *testing.T, c *redisserver.Cluster) {
	order, expiry, records := "{test}/keys", "{test}/expiry", []string{"{test}:0", "{test}:1", "{test}:2"}
	for _, row := range []struct {
		name  string
		moved [][]string
	}{
		{"indexes first", [][]string{{order}, {expiry}, {records[1]}, {records[0]}, {records[2]}}},
		{"records first", [][]string{{records[1]}, {records[0], records[2]}, {expiry}, {order}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			client := c.Client(t, nil)
			cache := backend.Cache(t, client, wildkey.Options{})
			want := []string{"0=v", "1=v", "2=v"}
			for n := range want {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
			}
			m := c.BeginMove(t, order, otherMaster(t, c, order))
			for i, keys := range append([][]string{nil}, row.moved...) {
				if keys != nil {
					m.Migrate(t, keys...)
				}
				found, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
				if err == nil {
					if diff := cmp.Diff(want, backend.Entries(found)); diff != "" {
						t.Errorf("when %d have moved (-want +got)\n%s", i, diff)
					}
				}
			}
			m.End(t)
			reindex(t, cache, len(want))
		})
	}
}

// testReindexWhenASlotHasMoved: Reindex goes through the node that has the slot,
// even where the client's list of slots is older, and through none while it moves.
func testReindexWhenASlotHasMoved(t *testing.T, c *redisserver.Cluster) {
	cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{})
	for n := range 3 {
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
	}
	m := c.BeginMove(t, "{test}", otherMaster(t, c, "{test}"))
	m.Migrate(t, "{test}:1")
	// Redis 6.2 says ASK.
	if n, err := cache.Reindex(ctx); !redis.IsTryAgainError(err) && !redis.HasErrorPrefix(err, "ASK ") {
		t.Errorf("Reindex while the slot moves: %d, %v, want TRYAGAIN or ASK", n, err)
	}
	m.End(t)
	backend.Must(t, m.To.Del(ctx, "{test}/keys", "{test}/expiry").Err())
	reindex(t, cache, 3)
	backend.WantAll(t, cache, "**", "0=v", "1=v", "2=v")
}

// testSlotBeginsToMoveUnderAReindex: a record that moves before SCAN has come to it
// is not left out without a word.
func testSlotBeginsToMoveUnderAReindex(t *testing.T, c *redisserver.Cluster) {
	const most = 50
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{CallRecords: 1})
	for n := range most {
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
	}
	owner, err := c.Owner("{test}")
	backend.Must(t, err)
	var last string // of the records, as SCAN gives them
	names := owner.Client(t).ScanType(ctx, 0, "{test}:*", 1, "string").Iterator()
	for names.Next(ctx) {
		last = names.Val()
	}
	backend.Must(t, names.Err())
	var m *redisserver.Move
	client.AddHook(backend.Hook{After: func(commands []redis.Cmder) {
		if commands[0].Name() == "evalsha" && m == nil {
			m = c.BeginMove(t, "{test}", otherMaster(t, c, "{test}"))
			m.Migrate(t, last)
		}
	}})
	if n, err := cache.Reindex(ctx); !redis.IsTryAgainError(err) && !redis.HasErrorPrefix(err, "ASK ") {
		t.Errorf("Reindex: %d, %v, want TRYAGAIN or ASK", n, err)
	}
	m.End(t)
	reindex(t, cache, most)
}

// testClusterVerbs is TestShardedVerbs on a cluster.
func testClusterVerbs(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	for _, shards := range []int{1, 7, 48} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			testVerbs(t, client, wildkey.Options{Shards: shards, ShardSegments: 1})
			flushAll(t, client)
		})
	}
}

// holdScripts holds every node to having all of the scripts.
func holdScripts(t *testing.T, c *redisserver.Cluster) {
	t.Helper()
	for _, node := range c.Nodes {
		for _, script := range wildkey.Scripts() {
			if exists, err := node.Client(t).ScriptExists(ctx, script.SHA1).Result(); err != nil || !exists[0] {
				t.Errorf("%s.lua on %s: %v, %v", script.Name, node.Addr, exists, err)
			}
		}
	}
}

// flushScripts takes the scripts from nodes.
func flushScripts(t *testing.T, nodes ...*redisserver.Server) {
	t.Helper()
	for _, node := range nodes {
		backend.Must(t, node.Client(t).ScriptFlush(ctx).Err())
	}
}

// callEach calls each script once for a key.
func callEach(t *testing.T, cache *wildkey.Cache, key wildkey.Key) {
	t.Helper()
	backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
	if n, err := cache.Touch(ctx, time.Hour, key); n != 1 || err != nil {
		t.Errorf("Touch: %d, %v", n, err)
	}
	if found, err := cache.Collect(ctx, wildkey.Under(key)); len(found) != 1 || err != nil {
		t.Errorf("All: %v, %v", found, err)
	}
	if stats, err := cache.Sweep(ctx); stats != (wildkey.SweepStats{}) || err != nil {
		t.Errorf("Sweep: %v, %v", stats, err)
	}
	if n, err := cache.Delete(ctx, key); n != 1 || err != nil {
		t.Errorf("Delete: %d, %v", n, err)
	}
}

// testScriptsOnEveryNode: Load, and each verb by itself, load on replicas too.
func testScriptsOnEveryNode(t *testing.T, c *redisserver.Cluster) {
	cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{})
	for name, load := range map[string]func(){
		"Load":  func() { backend.Must(t, cache.Load(ctx)) },
		"verbs": func() { callEach(t, cache, wildkey.K("key")) },
	} {
		t.Run(name, func(t *testing.T) {
			flushScripts(t, c.Nodes...)
			load()
			holdScripts(t, c)
		})
	}
}

// testScriptsGoneFromOneNode: the calls that it gets load them again.
func testScriptsGoneFromOneNode(t *testing.T, c *redisserver.Cluster) {
	cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{Shards: 48})
	backend.Must(t, cache.Load(ctx))
	for _, node := range c.Nodes {
		flushScripts(t, node)
		for n := range 10 {
			callEach(t, cache, wildkey.K(n))
		}
	}
}

// testScriptsWhileANodeIsDown: a node that lacks a script gets it, whatever
// has become of another one.
func testScriptsWhileANodeIsDown(t *testing.T, c *redisserver.Cluster) {
	cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{})
	backend.Must(t, cache.Load(ctx))
	owner, err := c.Owner("{test}")
	backend.Must(t, err)
	down := c.Nodes[len(c.Nodes)-1]
	down.Kill()
	// At once: a node that the others have given up is in no list of nodes any more.
	if err := cache.Load(ctx); err == nil || !strings.Contains(err.Error(), "SCRIPT LOAD") {
		t.Errorf("Load while a node is down: %v", err)
	}
	flushScripts(t, owner)
	callEach(t, cache, wildkey.K("key"))
	backend.Must(t, down.Restart())
	backend.Must(t, c.WaitUntilWhole(3, 1))
}

// evalRO is how often a node has been asked for EVALSHA_RO, and how often for EVALSHA.
func evalRO(t *testing.T, node *redisserver.Server) (reads, others int) {
	t.Helper()
	stats := node.Client(t).Info(ctx, "commandstats").Val()
	for name, count := range map[string]*int{"evalsha_ro": &reads, "evalsha": &others} {
		if _, found, ok := strings.Cut(stats, "cmdstat_"+name+":calls="); ok {
			number, _, _ := strings.Cut(found, ",")
			var err error
			*count, err = strconv.Atoi(number)
			backend.Must(t, err)
		}
	}
	return reads, others
}

// testPagesFromReplicas: where the client asks for it, replicas serve what
// reads, masters what writes.
func testPagesFromReplicas(t *testing.T, c *redisserver.Cluster) {
	if c.Nodes[0].Program.Before(7, 0) {
		t.Skip("EVALSHA_RO came with Redis 7.0")
	}
	options := wildkey.Options{Shards: 48}
	client := c.Client(t, nil)
	writer := backend.Cache(t, client, options)
	want := []string{}
	for n := range 100 {
		backend.Must(t, writer.Put(ctx, backend.Rec(wildkey.K(100+n), "v")))
		want = append(want, fmt.Sprintf("%d=v", 100+n))
	}
	backend.Must(t, client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		return master.Do(ctx, "WAIT", 1, 10_000).Err()
	}))
	for name, set := range map[string]func(*redis.ClusterOptions){
		"replicas":  func(o *redis.ClusterOptions) { o.ReadOnly = true },
		"any nodes": func(o *redis.ClusterOptions) { o.RouteRandomly = true },
	} {
		t.Run(name, func(t *testing.T) {
			cache := backend.Cache(t, c.Client(t, set), options)
			// The replicas have no script at first.
			flushScripts(t, c.Nodes...)
			for _, node := range c.Nodes {
				backend.Must(t, node.Client(t).ConfigResetStat(ctx).Err())
			}
			for range 5 {
				backend.WantAll(t, cache, "**", want...)
				if n, err := cache.Count(ctx, wildkey.MustParsePattern("*")); n != 100 || err != nil {
					t.Errorf("Count: %d, %v", n, err)
				}
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(100), "v")))
			if n, err := cache.Touch(ctx, 0, wildkey.K(100)); n != 1 || err != nil {
				t.Errorf("Touch: %d, %v", n, err)
			}
			for _, node := range c.Nodes {
				reads, others := evalRO(t, node)
				isReplica := strings.Contains(node.Client(t).Info(ctx, "replication").Val(), "role:slave")
				if isReplica && (reads == 0 || others > 0) || !isReplica && (reads > 0) != (name == "any nodes") {
					t.Errorf("%s, a replica: %t, got %d EVALSHA_RO and %d EVALSHA", node.Addr, isReplica, reads, others)
				}
			}
		})
	}
}

// testSlotMovesToANewNode: a node without a slot, which no client knows of and
// which has no script, is given the namespace's.
func testSlotMovesToANewNode(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{})
	backend.Must(t, cache.Load(ctx))
	for n := range 3 {
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
	}
	added, err := c.Add()
	backend.Must(t, err)
	m := c.BeginMove(t, "{test}", added)
	m.Migrate(t, "{test}/keys", "{test}/expiry", "{test}:0", "{test}:1", "{test}:2")
	flushScripts(t, added)
	everything := wildkey.MustParsePattern("**")
	if n, err := cache.Count(ctx, everything); n != 3 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(0), "new")))
	if n, err := cache.TouchMatch(ctx, 0, everything); n != 3 || err != nil {
		t.Errorf("TouchMatch: %d, %v", n, err)
	}
	// The slot is the new node's, and the client knows, when a call has failed there twice for want of the script.
	flushScripts(t, added)
	calls := 0
	client.AddHook(backend.Hook{After: func(commands []redis.Cmder) {
		if commands[0].Name() != "evalsha" {
			return
		}
		if calls++; calls == 2 {
			m.End(t)
			backend.Eventually(t, "the client knows the new owner", func() bool {
				client.ReloadState(ctx)
				master, err := client.MasterForKey(ctx, "{test}")
				return err == nil && master.Options().Addr == added.Addr
			})
		}
	}})
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(0), "newer")))
	if calls != 3 {
		t.Errorf("Put made %d calls of the script, not 3", calls)
	}
	flushScripts(t, added)
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(3), "v")))
	backend.WantAll(t, cache, "**", "0=newer", "1=v", "2=v", "3=v")
	reindex(t, cache, 4)
}

func flushAll(t *testing.T, client *redis.ClusterClient) {
	t.Helper()
	backend.Must(t, client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		return master.FlushAll(ctx).Err()
	}))
}
