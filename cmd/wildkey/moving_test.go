package main

import (
	"context"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// beginMove opens a slot on its way from its owner to another master, as a
// reshard does, and returns a function that moves keys of it.
func beginMove(
	t *testing.T, cluster *redisserver.Cluster, key string,
) (from, to *redis.Client, move func(keys ...string)) {
	t.Helper()
	ctx := context.Background()
	owner, err := cluster.Owner(key)
	must(t, err)
	for _, node := range cluster.Nodes {
		if node != owner {
			from, to = owner.Client(t), node.Client(t)
		}
	}
	slot := from.ClusterKeySlot(ctx, key).Val()
	must(t, to.Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", from.Do(ctx, "CLUSTER", "MYID").Val()).Err())
	must(t, from.Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", to.Do(ctx, "CLUSTER", "MYID").Val()).Err())
	return from, to, func(keys ...string) {
		t.Helper()
		host, port, err := net.SplitHostPort(to.Options().Addr)
		must(t, err)
		for _, key := range keys {
			must(t, from.Migrate(ctx, host, port, key, 0, 0).Err())
		}
	}
}

// TestSlotThatMoves reads and checks records while they and their indexes are on two nodes.
func TestSlotThatMoves(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		run := shell(t, cluster.Nodes[0])
		expect := func(command string, code int, want string) {
			t.Helper()
			if output, got := run(command); output != want || got != code {
				t.Errorf("%s: exit code %d, and\n%s\nwant %d, and\n%s", command, got, output, code, want)
			}
		}
		for _, key := range []string{"a", "b", "c"} {
			expect("printf "+key+" | wildkey put "+key+" --no-expiry", 0, "put "+key+", 1 B\n")
		}
		_, _, move := beginMove(t, cluster, "{app}")
		whole := "3 records, 3 index entries, 0 stale: 0 breaches\n"
		move("{app}:a")
		expect("wildkey get a", 0, "a")
		expect("wildkey get b", 0, "b")
		expect("wildkey get d", exitNothing, "wildkey: there is no record d\n")
		expect("wildkey check", 0, whole)
		move("{app}/keys")
		expect("wildkey get a", 0, "a")
		expect("wildkey check", 0, whole)
		move("{app}:b", "{app}:c")
		expect("wildkey get b", 0, "b")
		expect("wildkey check", 0, whole)
	})
}
