// Package cluster runs every verb on shards and on a Redis Cluster, while slots
// move and nodes go away.
package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
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
			{"found on masters", testFoundOnMasters},
			{"page while a slot moves", testPageWhileASlotMoves},
			{"put collects while a slot moves", testPutCollectsWhileASlotMoves},
			{"reindex of other clients", testReindexOfOtherClients},
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

var everything = wildkey.MustParsePattern("**")

// wantMany is backend.WantAll of more entries than one wants to read.
func wantMany(t *testing.T, cache *wildkey.Cache, want []string) {
	t.Helper()
	found, err := cache.Collect(ctx, everything)
	backend.Must(t, err)
	if diff := cmp.Diff(want, backend.Entries(found)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// isMoving is true of the errors that say that a slot moves.
func isMoving(err error) bool {
	return redis.IsTryAgainError(err) || redis.HasErrorPrefix(err, "ASK ") || redis.HasErrorPrefix(err, "MOVED ")
}

// testPageWhileASlotMoves: a page says that the slot moves, or is right. When it has
// moved all verbs agree, and nothing needs repair.
func testPageWhileASlotMoves(t *testing.T, c *redisserver.Cluster) {
	index, records := "{test}/keys", []string{"{test}:0", "{test}:1", "{test}:2"}
	for _, row := range []struct {
		name  string
		moved [][]string
	}{
		{"index first", [][]string{{index}, {records[1]}, {records[0]}, {records[2]}}},
		{"index between", [][]string{{records[2]}, {index}, {records[0], records[1]}}},
		{"records first", [][]string{{records[1]}, {records[0], records[2]}, {index}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			client := c.Client(t, func(o *redis.ClusterOptions) { o.MaxRedirects = 1 })
			cache := backend.Cache(t, client, wildkey.Options{})
			want := []string{"0=v", "1=v", "2=v"}
			for n := range want {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
			}
			m := c.BeginMove(t, index, otherMaster(t, c, index))
			for i, keys := range append([][]string{nil}, row.moved...) {
				if keys != nil {
					m.Migrate(t, keys...)
				}
				found, err := cache.Collect(ctx, everything)
				if diff := cmp.Diff(want, backend.Entries(found)); err == nil && diff != "" {
					t.Errorf("when %d have moved (-want +got)\n%s", i, diff)
				}
				if err != nil && !isMoving(err) {
					t.Errorf("when %d have moved, Collect: %v", i, err)
				}
				if n, err := cache.Count(ctx, everything); err == nil && n != len(want) || err != nil && !isMoving(err) {
					t.Errorf("when %d have moved, Count: %d, %v", i, n, err)
				}
				for n := range want {
					if value, err := cache.Get(ctx, wildkey.K(n)); string(value) != "v" || err != nil {
						t.Errorf("when %d have moved, Get: %q, %v", i, value, err)
					}
				}
			}
			m.End(t)
			backend.WantAll(t, cache, "**", want...)
			if n, err := cache.Count(ctx, everything); n != len(want) || err != nil {
				t.Errorf("Count: %d, %v", n, err)
			}
			if n, err := cache.DeleteMatch(ctx, everything); n != len(want) || err != nil {
				t.Errorf("DeleteMatch: %d, %v", n, err)
			}
		})
	}
}

// testPutCollectsWhileASlotMoves: a put that looks for stale entries where some
// records are on another node, yet to come or gone ahead, neither fails nor drops
// the entry of any of them.
func testPutCollectsWhileASlotMoves(t *testing.T, c *redisserver.Cluster) {
	const records = 200
	ahead, behind, byHand, all := []string{}, []string{}, []string{}, []string{}
	for n := range records {
		for part, names := range map[string]*[]string{"ahead": &ahead, "behind": &behind, "hand": &byHand} {
			*names = append(*names, fmt.Sprintf("{test}:%s:%03d", part, n))
			all = append(all, fmt.Sprintf("%s:%03d=v", part, n))
		}
	}
	slices.Sort(all)
	for name, moved := range map[string][]string{
		"records gone ahead":  ahead,
		"records yet to come": slices.Concat([]string{"{test}/keys"}, byHand, ahead),
	} {
		t.Run(name, func(t *testing.T) {
			client := c.Client(t, nil)
			cache := backend.Cache(t, client, wildkey.Options{})
			for n := range records {
				key := fmt.Sprintf("%03d", n)
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("ahead", key), "v"), backend.Rec(wildkey.K("behind", key), "v")))
			}
			// While a slot moves the index grows only by a record that is there and
			// not in the index, as new ones are TRYAGAIN.
			for _, name := range byHand {
				backend.Must(t, client.Set(ctx, name, "by hand", time.Hour).Err())
			}
			m := c.BeginMove(t, "{test}", otherMaster(t, c, "{test}"))
			m.Migrate(t, moved...)
			for n := range records {
				if err := cache.Put(ctx, backend.Rec(wildkey.K("hand", fmt.Sprintf("%03d", n)), "v")); err != nil {
					t.Fatalf("Put: %v", err)
				}
			}
			if err := cache.Put(ctx, backend.Rec(wildkey.K("new"), "v")); !redis.IsTryAgainError(err) {
				t.Errorf("Put of a new record: %v, want TRYAGAIN", err)
			}
			m.End(t)
			wantMany(t, cache, all)
			if n := client.ZCard(ctx, "{test}/keys").Val(); n != 3*records {
				t.Errorf("the index has %d entries of %d records", n, 3*records)
			}
			flushAll(t, client)
		})
	}
}

// testReindexWhenASlotHasMoved: Reindex goes through the node that has the slot,
// even where the client's list of slots is older, and fails while it moves.
func testReindexWhenASlotHasMoved(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{})
	for n := range 3 {
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
	}
	m := c.BeginMove(t, "{test}", otherMaster(t, c, "{test}"))
	for _, moved := range []string{"", "{test}:1", "{test}/keys"} {
		if moved != "" {
			m.Migrate(t, moved)
		}
		if n, err := admin.Reindex(ctx, client, cache.Layout()); !isMoving(err) {
			t.Errorf("Reindex when %q has moved: %d, %v, want an error", moved, n, err)
		}
	}
	m.End(t)
	backend.WantAll(t, cache, "**", "0=v", "1=v", "2=v")
	backend.Must(t, m.To.Del(ctx, "{test}/keys").Err())
	if n, err := admin.Reindex(ctx, client, cache.Layout()); n != 3 || err != nil {
		t.Errorf("Reindex: %d, %v", n, err)
	}
	backend.WantAll(t, cache, "**", "0=v", "1=v", "2=v")
}

// testSlotBeginsToMoveUnderAReindex: a record that moves before SCAN has come to it
// is not left out without a word, whether the move has ended or not.
func testSlotBeginsToMoveUnderAReindex(t *testing.T, c *redisserver.Cluster) {
	const records = 600 // more than a call of SCAN returns
	want := []string{}
	for n := range records {
		want = append(want, fmt.Sprintf("%03d=v", n))
	}
	for _, ended := range []bool{false, true} {
		t.Run(fmt.Sprintf("ended: %t", ended), func(t *testing.T) {
			client := c.Client(t, nil)
			cache := backend.Cache(t, client, wildkey.Options{})
			for n := range records {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(fmt.Sprintf("%03d", n)), "v")))
			}
			owner, err := c.Owner("{test}")
			backend.Must(t, err)
			backend.Must(t, owner.Client(t).Del(ctx, "{test}/keys").Err())
			var last string // of the records, as SCAN gives them
			names := owner.Client(t).ScanType(ctx, 0, "{test}*", 250, "string").Iterator()
			for names.Next(ctx) {
				last = names.Val()
			}
			backend.Must(t, names.Err())
			var m *redisserver.Move
			watched := c.Client(t, nil)
			watched.OnNewNode(func(node *redis.Client) {
				if node.Options().Addr != owner.Addr {
					return
				}
				node.AddHook(backend.Hook{After: func(commands []redis.Cmder) {
					if commands[0].Name() != "scan" || m != nil {
						return
					}
					m = c.BeginMove(t, "{test}", otherMaster(t, c, "{test}"))
					if m.Migrate(t, last); ended {
						m.End(t)
					}
				}})
			})
			if n, err := admin.Reindex(ctx, watched, cache.Layout()); err == nil || !ended && !isMoving(err) {
				t.Errorf("Reindex: %d, %v, want an error", n, err)
			}
			if m == nil {
				t.Fatal("the slot has not moved")
			}
			m.End(t)
			if n, err := admin.Reindex(ctx, client, cache.Layout()); n != records || err != nil {
				t.Errorf("Reindex once more: %d, %v", n, err)
			}
			wantMany(t, cache, want)
			flushAll(t, client)
		})
	}
}

// testReindexOfOtherClients: Reindex knows a cluster's client by ForEachMaster, in
// whatever it is wrapped.
func testReindexOfOtherClients(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{Shards: 48})
	for n := range 100 {
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(n), "v")))
	}
	for shard := range 48 {
		backend.Must(t, client.Del(ctx, cache.Layout().Index(shard)).Err())
	}
	wrapped := struct{ *redis.ClusterClient }{client}
	if n, err := admin.Reindex(ctx, wrapped, cache.Layout()); n != 100 || err != nil {
		t.Errorf("Reindex of a wrapped client: %d, %v", n, err)
	}
	if n, err := cache.Count(ctx, everything); n != 100 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
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
func holdScripts(t *testing.T, nodes ...*redisserver.Server) {
	t.Helper()
	for _, node := range nodes {
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
func callEach(t *testing.T, client *redis.ClusterClient, cache *wildkey.Cache, key wildkey.Key) {
	t.Helper()
	backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
	if n, err := cache.Touch(ctx, time.Hour, key); n != 1 || err != nil {
		t.Errorf("Touch: %d, %v", n, err)
	}
	if found, err := cache.Collect(ctx, wildkey.Under(key)); len(found) != 1 || err != nil {
		t.Errorf("Collect: %v, %v", found, err)
	}
	name, err := cache.Layout().Record(key)
	backend.Must(t, err)
	backend.Must(t, client.Del(ctx, name).Err())
	if n, err := cache.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("Sweep: %d, %v", n, err)
	}
	if n, err := cache.Delete(ctx, key); n != 0 || err != nil {
		t.Errorf("Delete: %d, %v", n, err)
	}
}

// testScriptsOnEveryNode: Load, and each verb by itself, load on replicas too.
func testScriptsOnEveryNode(t *testing.T, c *redisserver.Cluster) {
	flushScripts(t, c.Nodes...)
	backend.Must(t, backend.Cache(t, c.Client(t, nil), wildkey.Options{}).Load(ctx))
	holdScripts(t, c.Nodes...)
}

// testScriptsGoneFromOneNode: the calls that it gets load them again.
func testScriptsGoneFromOneNode(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{Shards: 48})
	backend.Must(t, cache.Load(ctx))
	for _, node := range c.Nodes {
		flushScripts(t, node)
		for n := range 10 {
			callEach(t, client, cache, wildkey.K(n))
		}
	}
}

// testScriptsWhileANodeIsDown: a node that lacks a script gets it, whatever
// has become of another one.
func testScriptsWhileANodeIsDown(t *testing.T, c *redisserver.Cluster) {
	client := c.Client(t, nil)
	cache := backend.Cache(t, client, wildkey.Options{})
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
	callEach(t, client, cache, wildkey.K("key"))
	backend.Must(t, down.Restart())
	backend.Must(t, c.WaitUntilWhole(3, 1))

	// A node that does not answer would hold up a call that asks it for anything.
	flushScripts(t, owner)
	for _, node := range c.Nodes {
		backend.Must(t, node.Client(t).ConfigResetStat(ctx).Err())
	}
	callEach(t, client, cache, wildkey.K("key"))
	asked := 0
	for _, node := range c.Nodes {
		stats := node.Client(t).Info(ctx, "commandstats").Val()
		if !strings.Contains(stats, "cmdstat_eval") && !strings.Contains(stats, "cmdstat_script") {
			continue
		}
		asked++
		if node != owner {
			t.Errorf("%s, which has nothing of the key, was asked for a script:\n%s", node.Addr, stats)
		}
	}
	if asked != 1 {
		t.Errorf("%d nodes were asked for a script", asked)
	}
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
			if n, err := cache.Touch(ctx, wildkey.NoExpiry, wildkey.K(100)); n != 1 || err != nil {
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

// testFoundOnMasters: what will write looks for its records on masters, where the
// client sends its reads to replicas, which may not have heard of some yet.
func testFoundOnMasters(t *testing.T, c *redisserver.Cluster) {
	for name, set := range map[string]func(*redis.ClusterOptions){
		"replicas":  func(o *redis.ClusterOptions) { o.ReadOnly = true },
		"any nodes": func(o *redis.ClusterOptions) { o.RouteRandomly = true },
	} {
		t.Run(name, func(t *testing.T) {
			client := c.Client(t, set)
			cache := backend.Cache(t, client, wildkey.Options{Shards: 7})
			backend.Must(t, cache.Load(ctx))
			for _, node := range c.Nodes {
				backend.Must(t, node.Client(t).ConfigResetStat(ctx).Err())
			}
			const users = 250 // by two ways of routing: 500 rounds
			for n := range users {
				user := wildkey.K("user", n)
				backend.Must(t, cache.Put(ctx, backend.Rec(user.Child("a"), "v"), backend.Rec(user.Child("b"), "v")))
				if n, err := cache.TouchMatch(ctx, wildkey.NoExpiry, wildkey.Under(user)); n != 2 || err != nil {
					t.Errorf("TouchMatch at once after a Put: %d, %v", n, err)
				}
				backend.Must(t, cache.Put(ctx, backend.Rec(user.Child("c"), "v")))
				if n, err := cache.DeleteMatch(ctx, wildkey.Under(user)); n != 3 || err != nil {
					t.Errorf("DeleteMatch at once after a Put: %d, %v", n, err)
				}
				backend.Must(t, cache.Put(ctx, backend.Rec(user.Child("a"), "v")))
				found := 0
				for _, err := range cache.Match(ctx, wildkey.Under(user), wildkey.FromMaster()) {
					backend.Must(t, err)
					found++
				}
				if found != 1 {
					t.Errorf("Match at once after a Put finds %d", found)
				}
			}
			if n, err := cache.Sweep(ctx); n != 0 || err != nil {
				t.Errorf("Sweep: %d, %v", n, err)
			}
			to := backend.Cache(t, client, wildkey.Options{Shards: 12, ShardSegments: 2})
			if n, err := admin.Move(ctx, cache, to); n != users || err != nil {
				t.Errorf("Move: %d, %v", n, err)
			}
			if n, err := to.DeleteMatch(ctx, everything); n != users || err != nil {
				t.Errorf("DeleteMatch: %d, %v", n, err)
			}
			for _, node := range c.Nodes {
				reads, others := evalRO(t, node)
				isReplica := strings.Contains(node.Client(t).Info(ctx, "replication").Val(), "role:slave")
				if reads > 0 || isReplica && others > 0 || !isReplica && others == 0 {
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
	m.Migrate(t, "{test}/keys", "{test}:0", "{test}:1", "{test}:2")
	flushScripts(t, added)
	if n, err := cache.Count(ctx, everything); n != 3 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(0), "new")))
	if n, err := cache.TouchMatch(ctx, wildkey.NoExpiry, everything); n != 3 || err != nil {
		t.Errorf("TouchMatch: %d, %v", n, err)
	}
	// The node is given the source. Meanwhile the slot becomes its own.
	flushScripts(t, added)
	var calls []string
	client.AddHook(backend.Hook{After: func(commands []redis.Cmder) {
		if !strings.HasPrefix(commands[0].Name(), "eval") {
			return
		}
		if calls = append(calls, commands[0].Name()); len(calls) == 1 {
			m.End(t)
			backend.Eventually(t, "the client knows the new owner", func() bool {
				client.ReloadState(ctx)
				master, err := client.MasterForKey(ctx, "{test}")
				return err == nil && master.Options().Addr == added.Addr
			})
		}
	}})
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(0), "newer")))
	if diff := cmp.Diff([]string{"evalsha", "eval"}, calls); diff != "" {
		t.Errorf("calls of Put (-want +got)\n%s", diff)
	}
	flushScripts(t, added)
	backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(3), "v")))
	backend.WantAll(t, cache, "**", "0=newer", "1=v", "2=v", "3=v")
	if n, err := cache.Count(ctx, everything); n != 4 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	if n, err := cache.DeleteMatch(ctx, everything); n != 4 || err != nil {
		t.Errorf("DeleteMatch: %d, %v", n, err)
	}
}

// TestSlotMovesAtomically: where the servers move a slot as a whole, every verb
// works meanwhile and finds all.
func TestSlotMovesAtomically(t *testing.T) {
	const records = 300
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		client := c.Client(t, nil)
		cache := backend.Cache(t, client, wildkey.Options{})
		var want []string
		for n := range records {
			key := fmt.Sprintf("%03d", n)
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K(key), "v")))
			want = append(want, key+"=v")
		}
		target := otherMaster(t, c, "{test}")
		moving := c.BeginAtomicMove(t, "{test}", target)
		during := 0
		for round := 0; moving(); round++ {
			key := wildkey.K("new", round)
			for _, verb := range []struct {
				name string
				call func() (int, error)
				want int
			}{
				{"Put", func() (int, error) { return 1, cache.Put(ctx, backend.Rec(key, "v")) }, 1},
				{"Count", func() (int, error) { return cache.Count(ctx, everything) }, records + 1},
				{"TouchMatch", func() (int, error) { return cache.TouchMatch(ctx, time.Hour, everything) }, records + 1},
				{"DeleteMatch", func() (int, error) { return cache.DeleteMatch(ctx, wildkey.MustParsePattern("new:*")) }, 1},
				{"Reindex", func() (int, error) { return admin.Reindex(ctx, client, cache.Layout()) }, records},
			} {
				n, err := verb.call()
				if verb.name == "Reindex" && isMoving(err) && !moving() {
					continue // it was between two calls when the slot changed its owner
				}
				if n != verb.want || err != nil {
					t.Errorf("round %d, %s: %d, %v, want %d", round, verb.name, n, err, verb.want)
				}
				if moving() {
					during++
				}
			}
			wantMany(t, cache, want)
		}
		if during == 0 {
			t.Error("the slot has moved before any call")
		}
		if owner, err := c.Owner("{test}"); owner != target || err != nil {
			t.Errorf("the slot is at %s, %v", owner.Addr, err)
		}
		wantMany(t, cache, want)
	}, "--rdb-key-save-delay", "10000") // microseconds: the move takes three seconds
}

func flushAll(t *testing.T, client *redis.ClusterClient) {
	t.Helper()
	backend.Must(t, client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		return master.FlushAll(ctx).Err()
	}))
}
