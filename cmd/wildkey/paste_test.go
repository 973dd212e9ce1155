package main

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// hostile are names that mean something to a shell, to a terminal or to redis-cli, or
// that look like words of the tool. Some are encoded keys.
var hostile = []string{
	"$(>pasted)", "`>pasted`", "$(touch${IFS}pasted)", "$(touch pasted)", "`touch pasted`",
	"';touch pasted;'", `";>pasted;"`, `";touch pasted;"`, "\ntouch pasted\n",
	"x\r\nDEL {app#0/4/1}/keys\r\n", "; repair: wildkey rm --yes '**' #", "repair: touch pasted", "repair:wildkey", "#", "#x",
	"!!", "!", "! x", "!$(touch pasted)", "!a", "-n", "--yes", "~root", "~", "{a,b}", "* ?", "[a-z]", ">pasted", "<pasted",
	"|touch pasted", "&touch pasted&", "(touch pasted)", "\\", `\x41`, "%41", "%", "=ls", "^x^touch pasted^",
	"\x1b[2J", "\x1b]0;x\x07", "\x00", "\xff\xfe", "\u202e", "\u200b", "é", "", " ", "\t", "a'b", `a"b`, "a", "b:c",
}

// shells are those that people paste into, where they are installed.
var shells = [][]string{
	{"sh"}, {"sh", "-i"}, {"bash", "--norc", "-i"}, {"zsh", "-f", "-i"}, {"fish", "--no-config"}, {"busybox", "sh", "-i"},
}

// prompt returns a function that gives lines to a shell as a person does who pastes
// them, and fails the test if that makes a file. A namespace of four shards is set.
func prompt(t *testing.T, server *redisserver.Server) (paste func(shell []string, lines string)) {
	t.Helper()
	environment := toolCommand(t, server).Env
	run := shell(t, server)
	path, _ := run("echo $PATH")
	return func(shell []string, lines string) {
		t.Helper()
		if _, err := exec.LookPath(shell[0]); err != nil {
			return
		}
		home := t.TempDir()
		command := exec.Command(shell[0], shell[1:]...)
		command.Dir = home
		command.Env = append(slices.Clone(environment), "HOME="+home, "TERM=dumb", "WILDKEY_SHARDS=4",
			"PATH="+strings.TrimSpace(path))
		command.Stdin = strings.NewReader(lines + "\n")
		output, _ := command.CombinedOutput() // how it ends is that of the last line, which may be no command
		if made, err := filepath.Glob(filepath.Join(home, "[^.]*")); err != nil || len(made) > 0 {
			t.Errorf("%q made %q, %v, and says\n%s", shell, made, err, output)
		}
	}
}

// content returns all that a server has.
func content(t *testing.T, client *redis.Client) map[string]string {
	t.Helper()
	ctx, all := context.Background(), map[string]string{}
	names, err := client.Keys(ctx, "*").Result()
	must(t, err)
	for _, name := range names {
		all[name], err = client.Dump(ctx, name).Result()
		must(t, err)
	}
	return all
}

// foul puts hostile names wherever check looks: as members of an index without and with a Redis key of that name, and
// with a score; as names of strings and of lists; in another shard than theirs; and beside the shards.
func foul(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx := context.Background()
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range hostile {
			p.ZAdd(ctx, "{app#0/4/1}/keys", redis.Z{Member: name})
			p.ZAdd(ctx, "{app#1/4/1}/keys", redis.Z{Member: name, Score: 7})
			p.ZAdd(ctx, "{app#2/4/1}/keys", redis.Z{Member: name})
			p.Set(ctx, "{app#2/4/1}:"+name, "v", 0)
			p.RPush(ctx, "{app#3/4/1}:"+name, "v")
		}
		p.Set(ctx, "{app#0/9/1}:x", "v", 0)
		return nil
	})
	must(t, err)
}

// TestCheckPasted pastes all that check says of hostile names into shells, where it
// does nothing.
func TestCheckPasted(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		client := server.Client(t)
		foul(t, client)
		output, _ := shell(t, server)("wildkey --shards 4 check 2>&-")
		lines := strings.Split(output, "\n")
		if len(lines) < 4*len(hostile) {
			t.Fatalf("check says only\n%s", output)
		}
		for _, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("a terminal may obey %q", line)
			}
			if n := strings.Count(line, "; repair: "); n > 1 {
				t.Errorf("a name speaks for the tool: %s", line)
			}
		}
		before, paste := content(t, client), prompt(t, server)
		for _, shell := range shells {
			paste(shell, output)
			if diff := cmp.Diff(before, content(t, client)); diff != "" {
				t.Fatalf("%q did something: (-before +after)\n%s", shell, diff)
			}
		}
	})
}

// TestCheckRepairs pastes the repairs themselves: those that are commands repair, and
// those that are for people do nothing until these have done what they say.
func TestCheckRepairs(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client, run, paste := context.Background(), server.Client(t), shell(t, server), prompt(t, server)
		breaches := func() (found []breach) {
			output, _ := run("wildkey --shards 4 check --json 2>&-")
			for _, line := range strings.Split(strings.TrimSpace(output), "\n") {
				var one breach
				must(t, json.Unmarshal([]byte(line), &one))
				if one.Kind != "" {
					found = append(found, one)
				}
			}
			return found
		}
		isCommand := func(repair string) bool {
			return strings.HasPrefix(repair, "wildkey ") || strings.HasPrefix(repair, "redis-cli ")
		}
		for _, shell := range shells {
			must(t, client.FlushAll(ctx).Err())
			foul(t, client)
			var commands, sentences []string
			for _, b := range breaches() {
				if isCommand(b.Repair) {
					commands = append(commands, b.Repair)
				} else {
					sentences = append(sentences, b.Repair)
				}
			}
			slices.Sort(commands)
			slices.Sort(sentences)
			before := content(t, client)
			paste(shell, strings.Join(slices.Compact(sentences), "\n"))
			if diff := cmp.Diff(before, content(t, client)); diff != "" {
				t.Fatalf("%q took a sentence for a command: (-before +after)\n%s", shell, diff)
			}
			if _, err := exec.LookPath(shell[0]); err != nil {
				continue
			}
			paste(shell, strings.Join(slices.Compact(commands), "\n"))
			for _, b := range breaches() {
				if isCommand(b.Repair) {
					t.Errorf("%q: still %+v", shell, b)
				}
			}
			// A person deletes what nobody needs, and puts anew what is to be put anew.
			for _, name := range hostile {
				must(t, client.Del(ctx, "{app#2/4/1}:"+name, "{app#3/4/1}:"+name, "{app#0/9/1}:x").Err())
			}
			if left := breaches(); len(left) > 0 {
				t.Errorf("%q: left are %+v", shell, left)
			}
		}
	})
}
