package main

import (
	"slices"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// beginMove opens the slot of a key: from its owner to any other master.
func beginMove(t *testing.T, cluster *redisserver.Cluster, key string) *redisserver.Move {
	t.Helper()
	owner, err := cluster.Owner(key)
	must(t, err)
	other := slices.IndexFunc(cluster.Nodes, func(node *redisserver.Server) bool { return node != owner })
	return cluster.BeginMove(t, key, cluster.Nodes[other])
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
		move := beginMove(t, cluster, "{app}").Migrate
		whole := "3 records, 3 index entries, 0 stale (0.0%): 0 breaches\n"
		move(t, "{app}:a")
		expect("wildkey get a", 0, "a")
		expect("wildkey get b", 0, "b")
		expect("wildkey get d", exitNothing, "wildkey: there is no record d in namespace app on "+cluster.Nodes[0].Addr+"\n")
		expect("wildkey check", 0, whole)
		move(t, "{app}/keys")
		expect("wildkey get a", 0, "a")
		expect("wildkey check", 0, whole)
		move(t, "{app}:b", "{app}:c")
		expect("wildkey get b", 0, "b")
		expect("wildkey check", 0, whole)
	})
}
