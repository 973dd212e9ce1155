package main

import (
	"context"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestScriptsOnNewNode has a node join a cluster, without a slot yet: scripts go
// there, and are missed there, and it is missed when it is gone.
func TestScriptsOnNewNode(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		ctx := context.Background()
		added, err := cluster.Add()
		must(t, err)
		client := added.Client(t)
		run := shell(t, cluster.Nodes[0])
		expect := func(command string, code int, want string) {
			t.Helper()
			output, got := run(command)
			if got != code || !strings.Contains(output, want) {
				t.Errorf("%s: exit code %d and\n%swant %d and\n%s", command, got, output, code, want)
			}
		}
		expect("wildkey scripts load", 0, added.Addr)
		expect("wildkey --preloaded doctor", 0, "ok       scripts   all 4 are loaded")
		must(t, client.ScriptFlush(ctx).Err())
		expect("wildkey scripts verify", exitFindings, added.Addr+" lacks delete.lua, match.lua")
		expect("wildkey --preloaded doctor", exitFindings, added.Addr+" lacks delete.lua, match.lua")
		must(t, cluster.Nodes[1].Client(t).ScriptFlush(ctx).Err())
		added.Kill()
		expect("wildkey scripts load", exitFailure, "SCRIPT LOAD delete.lua on "+added.Addr)
		expect("wildkey scripts verify", exitFailure, "SCRIPT EXISTS on "+added.Addr)
		expect("wildkey doctor", exitFindings, "problem  scripts   cannot be seen: SCRIPT EXISTS on "+added.Addr)
		if output, _ := run("wildkey scripts --json"); strings.Count(output, `"missing":[]`) != 4 {
			t.Errorf("one node is down, and the others have not all scripts:\n%s", output)
		}
	})
}

func TestAddressOf(t *testing.T) {
	for field, want := range map[string]string{
		"10.0.0.1:6379@16379":                       "10.0.0.1:6379",
		"10.0.0.1:6379@16379,":                      "10.0.0.1:6379",
		"10.0.0.1:6379@16379,,shard-id=abc":         "10.0.0.1:6379",
		"10.0.0.1:6379@16379,shard-id=abc":          "10.0.0.1:6379",
		"10.0.0.1:6379@16379,host.example,tls=6380": "host.example:6379",
		"2001:db8::1:6379@16379":                    "[2001:db8::1]:6379",
	} {
		if got := addressOf(field); got != want {
			t.Errorf("%s: %s, want %s", field, got, want)
		}
	}
}
