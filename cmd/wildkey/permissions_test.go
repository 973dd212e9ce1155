package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestReadmePermissions runs the commands as a user who may call what the README
// names, and what the scripts do: none is refused.
func TestReadmePermissions(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	must(t, err)
	_, named, found := strings.Cut(string(readme), "To do all this a user needs,")
	named, _, ended := strings.Cut(named, "\n\n")
	if !found || !ended {
		t.Fatal("the README does not say what a user needs")
	}
	rules := []any{"ACL", "SETUSER", "operator", "on", ">secret", "~*"}
	allow := func(command string) {
		rules = append(rules, "+"+strings.ToLower(strings.ReplaceAll(command, " ", "|")))
	}
	for _, command := range regexp.MustCompile("`([A-Z][A-Z_]+(?:\\s[A-Z]+)?)`").FindAllStringSubmatch(named, -1) {
		allow(strings.ReplaceAll(command[1], "\n", " "))
	}
	for _, script := range wildkey.Scripts() {
		_, commands, _ := strings.Cut(script.Source, "\n-- COMMANDS  ")
		commands, _, _ = strings.Cut(commands, "\n")
		for _, command := range strings.Fields(commands) {
			allow(command)
		}
	}
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		needsRedis7(t, server, "commands that are named with a subcommand")
		must(t, server.Client(t).Do(context.Background(), rules...).Err())
		run := shell(t, server)
		user := "wildkey --url redis://operator:secret@$ADDR "
		for _, command := range []string{
			"scripts load", "scripts", "scripts verify", "put a --no-expiry < /dev/null", "get a", "ls", "ls --values",
			"count", "touch '**' --ttl 1h", "export > lines", "import lines", "reindex", "check", "sweep", "top",
			"doctor", "reshard --to-shards 2 --yes", "--shards 2 rm '**' --yes",
		} {
			if output, code := run(user + command); code != 0 || strings.Contains(output, "cannot be seen") {
				t.Errorf("%s: exit code %d, and\n%s", command, code, output)
			}
		}
	})
}
