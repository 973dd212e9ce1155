package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestDoctorOfMasterDown kills a node that has a shard, which is more than a note.
func TestDoctorOfMasterDown(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		down, err := cluster.Owner("{app#1/3/1}")
		must(t, err)
		up := cluster.Nodes[slices.IndexFunc(cluster.Nodes, func(s *redisserver.Server) bool { return s != down })]
		run := shell(t, up)
		if output, code := run("wildkey --shards 3 doctor"); code != 0 {
			t.Errorf("before: exit code %d, and\n%s", code, output)
		}
		down.Kill()
		output, code := run("wildkey --shards 3 doctor")
		if code != exitFindings ||
			!strings.Contains(output, "problem  server    cannot be seen: connecting: dial tcp "+down.Addr) {
			t.Errorf("exit code %d, and\n%s", code, output)
		}
	})
}

// TestDoctorWithoutCommand asks a server that has no INFO, as hosted ones may, which is no problem.
func TestDoctorWithoutCommand(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		output, code := shell(t, server)("wildkey doctor")
		if code != 0 || !strings.Contains(output, "note     memory    cannot be seen: ERR unknown command") {
			t.Errorf("exit code %d, and\n%s", code, output)
		}
	}, "--rename-command", "INFO", "HIDDEN")
}

// TestDoctorOfOpenSlot has the slot of one shard open on either side, as a
// reshard of the cluster that was broken off leaves it.
func TestDoctorOfOpenSlot(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		ctx := context.Background()
		run := shell(t, cluster.Nodes[0])
		expect := func(code int, want string) {
			t.Helper()
			if output, got := run("wildkey --shards 3 doctor"); got != code || !strings.Contains(output, want) {
				t.Errorf("exit code %d, and\n%swant %d, and\n%s", got, output, code, want)
			}
		}
		m := beginMove(t, cluster, "{app#1/3/1}")
		from, to := m.From, m.To
		source, target := from.Options().Addr, to.Options().Addr
		ways := []string{"migrating from " + source, "importing to " + target}
		if target < source {
			slices.Reverse(ways)
		}
		open := "problem  cluster   slots of " + source + " are open, and calls may fail with TRYAGAIN: {app#1/3/1} 13763 "
		expect(exitFindings, open+strings.Join(ways, " ")+"\n"+
			"                   -> redis-cli --cluster fix "+source+", unless slots are just being moved\n")
		must(t, from.Do(ctx, "CLUSTER", "SETSLOT", 13763, "STABLE").Err())
		expect(exitFindings, open+"importing to "+target+"\n")
		must(t, to.Do(ctx, "CLUSTER", "SETSLOT", 13763, "STABLE").Err())
		expect(0, "ok       cluster   slots on "+source+": {app#1/3/1} 13763\n")
	})
}
