package main

import (
	"context"
	"regexp"
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
			!strings.Contains(output, "problem  server    cannot be seen: nothing listens at "+down.Addr) {
			t.Errorf("exit code %d, and\n%s", code, output)
		}
	})
}

// TestDoctorWithoutCommand asks a server that has no INFO, as hosted ones may, which is no problem.
func TestDoctorWithoutCommand(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		output, code := shell(t, server)("wildkey doctor")
		if code != 0 || !strings.Contains(output, "note     memory    cannot be seen: the server has no command INFO\n") {
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

// TestDoctorWithoutClusterCommands is a user who may not look at the cluster.
func TestDoctorWithoutClusterCommands(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		needsRedis7(t, cluster.Nodes[0], "commands that are named with a subcommand")
		for _, denied := range []string{"-cluster|info", "-cluster|nodes"} {
			for _, node := range cluster.Nodes {
				must(t, node.Client(t).Do(context.Background(),
					"ACL", "SETUSER", "app", "reset", "on", ">secret", "~*", "+@all", denied).Err())
			}
			output, code := shell(t, cluster.Nodes[0])("REDIS_URL=redis://app:secret@$ADDR wildkey --shards 3 doctor")
			if code != 0 || !strings.Contains(output, "note     cluster   cannot be seen: ") || strings.Contains(output, "ok       cluster") {
				t.Errorf("%s: exit code %d, and\n%s", denied, code, output)
			}
		}
	})
}

// TestDoctorOfMisleadingACL is users whose rules allow the bare prefix, which put.lua asks for, and not all records. The
// calls of the others are whole or refused.
func TestDoctorOfMisleadingACL(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "permissions")
		ctx, client := context.Background(), server.Client(t)
		for rules, misleads := range map[string]bool{
			"~{app}/keys ~{app}? %R~{app}* +@all":                    true, // of one length
			"~{app}/keys ~*[:x] %R~{app}* +@all":                     true, // by the last character
			"~{app}* +@all -set +set|{app}:":                         true, // a rule for the first argument
			"~{app}* +@all -set (+set ~{app}:)":                      true, // a selector
			"~{app}/keys %R~{app}:* %W~{app}: %W~{app}:user:* +@all": true, // a mix of reading and writing
			"~{app}* +@all": false,
			"~{app}* +@all -set (+set ~{app}:user:*)":                   false,
			"~{app}* +@all -zrem (+zrem ~{app}/keys)":                   false,
			"~{app}/keys ~{app}:* +@all":                                false,
			"%R~{app}* %W~{app}* +@all":                                 false,
			"~{app}/keys ~{app}:user:* ~{app}:!user:* %R~{app}:* +@all": false,
		} {
			must(t, client.FlushAll(ctx).Err())
			arguments := []any{"ACL", "SETUSER", "app", "reset", "on", ">secret"}
			for _, rule := range regexp.MustCompile(`\([^)]*\)|[^ ]+`).FindAllString(rules, -1) {
				arguments = append(arguments, rule)
			}
			must(t, client.Do(ctx, arguments...).Err())
			output, _ := shell(t, server)("REDIS_URL=redis://app:secret@$ADDR wildkey doctor")
			if got := strings.Contains(output, "problem  acl       user app may write to the bare prefix and not to all"); got != misleads {
				t.Errorf("%s: want %v, and the doctor says\n%s", rules, misleads, output)
			}
		}
	})
}
