package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCluster is what happens to a cluster of three masters, each with a replica:
// a master dies, slots move, a node joins; under a load in one shard, and in 48.
// In the short form a master dies once.
func TestCluster(t *testing.T) {
	leavesNoGoroutine(t)
	redisserver.EachCluster(t, 3, 1, func(t *testing.T, cluster *redisserver.Cluster) {
		for _, shards := range []int{1, 48} {
			if *long || shards > 1 {
				failover(t, cluster, shards)
			}
			moveSlots(t, cluster, shards)
		}
		for _, shards := range []int{1, 48} {
			join(t, cluster, shards)
		}
	})
}

// namespaceOf returns a namespace whose first shard has the slot that a node
// gives away first: the lowest that it has.
func namespaceOf(t *testing.T, giver *redisserver.Server, shards int) string {
	t.Helper()
	id := giver.Client(t).Do(ctx, "CLUSTER", "MYID").Val().(string)
	first, slots := -1, redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS")
	must(t, giver.Client(t).Process(ctx, slots))
	for _, slots := range slots.Val() {
		if slots.Nodes[0].ID == id && (first < 0 || slots.Start < first) {
			first = slots.Start
		}
	}
	const atOnce = 1_000
	for from := 0; from < 1_000_000; from += atOnce {
		replies, err := giver.Client(t).Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for n := range atOnce {
				options := wildkey.Options{Namespace: fmt.Sprint("slot-", from+n), Shards: shards}
				pipe.ClusterKeySlot(ctx, tagOf(t, options, 0))
			}
			return nil
		})
		must(t, err)
		for n, reply := range replies {
			if reply.(*redis.IntCmd).Val() == int64(first) {
				return fmt.Sprint("slot-", from+n)
			}
		}
	}
	t.Fatalf("no namespace has slot %d", first)
	return ""
}

func tagOf(t *testing.T, options wildkey.Options, shard int) string {
	t.Helper()
	layout, err := wildkey.NewLayout(options.Namespace, options.Shards, options.ShardSegments)
	must(t, err)
	return layout.Tag(shard)
}

// failover kills the master of a shard, and brings it back when its replica has
// taken its place. What it had acknowledged and not yet sent on is lost, with
// its index entry: replication is asynchronous.
func failover(t *testing.T, cluster *redisserver.Cluster, shards int) {
	options := wildkey.Options{Namespace: "failover", Shards: shards}
	l := newLoad(t, cluster.Client(t, nil), loadOptions{cache: options, users: 64, replays: true, forgets: true})
	table := newRow(t, fmt.Sprintf("master of a cluster killed, shards: %d", shards))
	for range rounds(1, 5) {
		l.during(func() {
			if !l.waitForWrites(300) {
				t.Error("no load")
			}
			master, err := cluster.Owner(tagOf(t, options, 0))
			must(t, err)
			master.Kill()
			must(t, cluster.WaitUntilServed(tagOf(t, options, 0), master))
			must(t, master.Restart())
			must(t, cluster.WaitUntilWhole(3, 1))
		})
		client := cluster.Client(t, nil)
		v := l.judge(t, client, true)
		v.mustBeWhole(t)
		table.add(l, v)
		l.run(ctx, 100)
		if n := l.toldOf("done"); n < 100 {
			t.Errorf("when the replica has taken over, the clients are told %v", l.told)
		}
		v = l.judge(t, client, true)
		v.mustBeWhole(t)
		table.add(l, v)
		flush(t, client)
		l.forget()
	}
	onlySay(t, table, "done", "CLUSTERDOWN", "MOVED", "LOADING", "READONLY", "timeout",
		"connection broken", "connection refused", reindexAgain)
	if len(table.told) < 2 {
		t.Errorf("the clients were told %v: no master was killed among their calls", table.told)
	}
}

// moveSlots moves slots from one master to another and back.
func moveSlots(t *testing.T, cluster *redisserver.Cluster, shards int) {
	client := cluster.Client(t, nil)
	giver := cluster.Nodes[slices.IndexFunc(cluster.Nodes, func(node *redisserver.Server) bool {
		return strings.Contains(node.Client(t).Info(ctx, "replication").Val(), "role:master")
	})]
	l := newLoad(t, client, loadOptions{
		cache: wildkey.Options{Namespace: namespaceOf(t, giver, shards), Shards: shards}, moves: true,
	})
	table := newRow(t, fmt.Sprintf("slots of a cluster moved, shards: %d", shards))
	for range rounds(1, 5) {
		taker := otherMaster(t, cluster, giver)
		move(t, cluster, l, table, giver, taker)
		giver, taker = taker, giver
	}
	onlySay(t, table, "done", "TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK", reindexAgain)
	flush(t, client)
}

func otherMaster(t *testing.T, cluster *redisserver.Cluster, than *redisserver.Server) *redisserver.Server {
	t.Helper()
	i := slices.IndexFunc(cluster.Nodes, func(node *redisserver.Server) bool {
		return node != than && strings.Contains(node.Client(t).Info(ctx, "replication").Val(), "role:master")
	})
	return cluster.Nodes[i]
}

// join adds a node without a slot, and without a script, and moves slots there.
func join(t *testing.T, cluster *redisserver.Cluster, shards int) {
	client := cluster.Client(t, nil)
	giver, err := cluster.Owner("any")
	must(t, err)
	l := newLoad(t, client, loadOptions{
		cache: wildkey.Options{Namespace: namespaceOf(t, giver, shards), Shards: shards}, moves: true,
	})
	table := newRow(t, fmt.Sprintf("node joins and is given slots, shards: %d", shards))
	l.run(ctx, 200)
	added, err := cluster.Add()
	must(t, err)
	move(t, cluster, l, table, giver, added)
	onlySay(t, table, "done", "TRYAGAIN", "CLUSTERDOWN", "MOVED", "ASK", reindexAgain)
	flush(t, client)
}

// move moves slots while the load runs, that of the first shard first. Nothing may
// be wrong afterwards.
func move(
	t *testing.T, cluster *redisserver.Cluster, l *load, table *row, giver, taker *redisserver.Server,
) {
	t.Helper()
	moved := func() (moved int) {
		for shard := range l.loadOptions.cache.Shards {
			owner, err := cluster.Owner(tagOf(t, l.loadOptions.cache, shard))
			must(t, err)
			if owner == taker {
				moved++
			}
		}
		return moved
	}
	before := moved()
	l.during(func() {
		if !l.waitForWrites(300) {
			t.Error("no load")
		}
		must(t, cluster.Reshard(giver, taker, rounds(50, 1_000)))
		if !l.waitForWrites(300) {
			t.Error("no load when slots have moved")
		}
	})
	if after := moved(); after <= before {
		t.Errorf("the taker has %d shards, and had %d", after, before)
	}
	client := cluster.Client(t, nil)
	table.add(l, l.judgeWhole(t, client))
	l.mustDelete(t, client)
}

// onlySay fails the test for calls that ended otherwise.
func onlySay(t *testing.T, table *row, kinds ...string) {
	t.Helper()
	for kind, n := range table.told {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%s: %d calls ended with %q", table.fault, n, kind)
		}
	}
	if table.told["done"] == 0 {
		t.Errorf("%s: no call was done", table.fault)
	}
}

func flush(t *testing.T, client *redis.ClusterClient) {
	t.Helper()
	must(t, client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		return master.FlushAll(ctx).Err()
	}))
}
