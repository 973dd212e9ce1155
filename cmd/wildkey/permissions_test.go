package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// lineOnPage returns the permissions in the line that scripts/AUDIT.md has for a user.
func lineOnPage(t *testing.T, name string) []string {
	t.Helper()
	audit, err := os.ReadFile("../../scripts/AUDIT.md")
	must(t, err)
	line := regexp.MustCompile(`(?m)^ACL SETUSER ` + name + ` on >SECRET (.*)$`).FindSubmatch(audit)
	if line == nil {
		t.Fatalf("the page has no line for the user %s", name)
	}
	return strings.Fields(string(line[1]))
}

// setUser makes an ACL user anew.
func setUser(t *testing.T, server *redisserver.Server, name string, permissions []string) {
	t.Helper()
	rules := []any{"ACL", "SETUSER", name, "reset", "on", ">SECRET"}
	for _, permission := range permissions {
		rules = append(rules, permission)
	}
	must(t, server.Client(t).Do(context.Background(), rules...).Err())
}

var readingCommands = []string{
	"scripts", "scripts verify", "get a", "ls", "ls --count", "ls '**' --values", "count", "du", "export",
	"check", "doctor", "top",
}

var writingCommands = []string{
	"scripts load", "put a --no-expiry < /dev/null", "touch '**' --ttl 1h", "touch '**' --no-expiry",
	// As many as have put.lua collect.
	`seq 40 | sed 's/.*/{"key":"user:&","value":"v","ttl":"never"}/' | wildkey import`,
	"reindex", "sweep", "reshard --to-shards 2 --yes", "--shards 2 reshard --to-shards 1 --yes", "rm '**' --yes",
}

// failure runs commands as a user until one of them fails, or does not see something.
func failure(run func(string) (string, int), name string, commands []string) string {
	for _, command := range commands {
		if !strings.Contains(command, "wildkey") {
			command = "wildkey " + command
		}
		output, code := run("export REDIS_URL=redis://" + name + ":SECRET@$ADDR; " + command)
		if code != 0 || strings.Contains(output, "cannot be seen") {
			return fmt.Sprintf("%s: exit code %d, and\n%s", command, code, output)
		}
	}
	return ""
}

// preloaded are the commands with the flag that a user needs who loads nothing.
func preloaded(commands []string) (all []string) {
	for _, command := range commands {
		all = append(all, "--preloaded "+command)
	}
	return all
}

// TestPermissions proves the lines of scripts/AUDIT.md for this tool: such a user runs
// every command, and with any permission less a command fails, or the server refuses one
// that the tool can do without.
func TestPermissions(t *testing.T) {
	everyShard := []string{"~{app#*}/keys", "~{app#*}:*"} // reshard needs them
	for _, user := range []struct {
		name           string
		more, commands []string
		prepare        string
	}{
		{"viewer", nil, preloaded(readingCommands), "wildkey scripts load && printf v | wildkey put a --no-expiry"},
		{"operator", everyShard, writingCommands, "redis-cli SCRIPT FLUSH"},
	} {
		t.Run(user.name, func(t *testing.T) {
			redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
				needsRedis7(t, server, "what doctor asks about permissions")
				run := shell(t, server)
				as := func(permissions []string) string {
					if output, code := run("redis-cli FLUSHALL && redis-cli ACL LOG RESET && " + user.prepare); code != 0 {
						t.Fatal(output)
					}
					setUser(t, server, user.name, permissions)
					return failure(run, user.name, user.commands)
				}
				line := lineOnPage(t, user.name)
				if failure := as(slices.Concat(line, user.more)); failure != "" {
					t.Error(failure)
				}
				for i, missing := range line {
					rest := slices.Concat(slices.Delete(slices.Clone(line), i, i+1), user.more)
					if as(rest) != "" {
						continue
					}
					log, err := server.Client(t).ACLLog(context.Background(), 100).Result()
					must(t, err)
					if !slices.ContainsFunc(log, func(e *redis.ACLLogEntry) bool { return "+"+e.Object == missing }) {
						t.Errorf("no command needs %s", missing)
					}
				}
			})
		})
	}
}

// TestPermissionsOfOthers: what AUDIT.md says about other namespaces, and other shards.
func TestPermissionsOfOthers(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "what doctor asks about permissions")
		run := shell(t, server)
		if output, code := run("wildkey scripts load && wildkey put a --no-expiry < /dev/null && " +
			"wildkey -n other put a --no-expiry < /dev/null"); code != 0 {
			t.Fatal(output)
		}
		commands := preloaded(readingCommands)
		setUser(t, server, "viewer", lineOnPage(t, "viewer"))
		for _, command := range commands {
			needs := strings.Contains(command, "top") || strings.Contains(command, "doctor")
			if failure := failure(run, "viewer", []string{command}); (failure != "") != needs {
				t.Errorf("%s, with another namespace on the server: %s", command, failure)
			}
		}
		setUser(t, server, "viewer", append(lineOnPage(t, "viewer"), "%R~{*}/keys", "%R~{*}:*"))
		if failure := failure(run, "viewer", commands); failure != "" {
			t.Error(failure)
		}
		setUser(t, server, "operator", lineOnPage(t, "operator"))
		if output := failure(run, "operator", []string{"reshard --to-shards 2 --yes"}); !strings.Contains(output, "put.lua: this user may not use one of the keys of a call") {
			t.Errorf("reshard to shards that the user may not write: %s", output)
		}
		setUser(t, server, "both", append(lineOnPage(t, "viewer"), append(lineOnPage(t, "operator"), "%R~{*}/keys", "%R~{*}:*")...))
		for _, commands := range [][]string{readingCommands, {"put b --no-expiry < /dev/null", "rm '**' --yes"}} {
			if failure := failure(run, "both", commands); failure != "" {
				t.Error(failure)
			}
		}
	})
}

// TestPermissionsOnCluster: what AUDIT.md says the tool needs beside its lines there.
func TestPermissionsOnCluster(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		needsRedis7(t, cluster.Nodes[0], "what doctor asks about permissions")
		run := shell(t, cluster.Nodes[0])
		if output, code := run("wildkey scripts load && wildkey put a --no-expiry < /dev/null"); code != 0 {
			t.Fatal(output)
		}
		as := func(permissions []string) string {
			for _, node := range cluster.Nodes {
				setUser(t, node, "viewer", permissions)
			}
			return failure(run, "viewer", preloaded(readingCommands))
		}
		more := []string{"+cluster|slots", "+cluster|nodes", "+cluster|info", "+cluster|keyslot"}
		if failure := as(append(lineOnPage(t, "viewer"), more...)); failure != "" {
			t.Error(failure)
		}
		for i, missing := range more {
			if as(append(lineOnPage(t, "viewer"), slices.Delete(slices.Clone(more), i, i+1)...)) == "" {
				t.Errorf("no command needs %s", missing)
			}
		}
		for _, node := range cluster.Nodes {
			setUser(t, node, "operator", append(lineOnPage(t, "operator"), "~{app#*}/keys", "~{app#*}:*", "+cluster|slots", "+cluster|nodes"))
		}
		if failure := failure(run, "operator", writingCommands); failure != "" {
			t.Error(failure)
		}
	})
}
