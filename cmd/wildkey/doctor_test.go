package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestDoctorOfMasterDown kills a node that has a shard, which is more than a note.
func TestDoctorOfMasterDown(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		down, err := cluster.Owner("{app#1}")
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
