package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

var update = flag.Bool("update", false, "rewrite the sessions from what the tool says")

// TestSessions types the commands of each file in testdata, on an empty server
// of its own, and expects what stands beneath them.
func TestSessions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no sessions")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			must(t, err)
			redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
				compare(t, file, string(content), typist(t, server)(string(content)))
			})
		})
	}
}

// TestReadme types the console sessions of the README, one after the other on
// the same server.
func TestReadme(t *testing.T) { typePage(t, "README.md") }

// TestRollingUpgrades types those of the page about them.
func TestRollingUpgrades(t *testing.T) { typePage(t, "../../docs/rolling-upgrades.md") }

func typePage(t *testing.T, page string) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		content, err := os.ReadFile(page)
		must(t, err)
		run := typist(t, server)
		sessions := 0
		blocks := regexp.MustCompile("(?ms)^```console\n(.*?)^```$")
		got := blocks.ReplaceAllStringFunc(string(content), func(block string) string {
			sessions++
			session := strings.TrimSuffix(strings.TrimPrefix(block, "```console\n"), "```")
			return "```console\n" + run(session) + "```"
		})
		if sessions == 0 {
			t.Errorf("no console session in %s", page)
		}
		compare(t, page, string(content), got)
	})
}

// compare holds what was got against a file, or rewrites it.
func compare(t *testing.T, file, want, got string) {
	t.Helper()
	if *update {
		must(t, os.WriteFile(file, []byte(got), 0o666))
	} else if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("(-%s +got)\n%s", file, diff)
	}
}

// typist returns a function that runs the lines of a
// session that start with $ and returns the session with their output, and
// [code] where the exit code is not 0. A line that ends with \ goes on in the
// next. Comments stay.
func typist(t *testing.T, server *redisserver.Server) func(session string) string {
	return typistAt(t, server, 0)
}

// typistAt has commands write to a terminal of so many columns, or with 0 to none.
func typistAt(t *testing.T, server *redisserver.Server, columns int) func(session string) string {
	run := shellAt(t, server, columns)
	return func(session string) string {
		if strings.Contains(session, "wildkey doctor") || strings.Contains(session, "--preloaded doctor") {
			needsRedis7(t, server, "what doctor asks about permissions")
		}
		var b strings.Builder
		lines := strings.Split(strings.TrimSuffix(session, "\n"), "\n")
		for i := 0; i < len(lines); i++ {
			command, ok := strings.CutPrefix(lines[i], "$ ")
			if !ok {
				if lines[i] == "" || strings.HasPrefix(lines[i], "#") {
					b.WriteString(lines[i] + "\n")
				}
				continue
			}
			for strings.HasSuffix(command, `\`) {
				i++
				command += "\n" + lines[i]
			}
			output, code := run(command)
			fmt.Fprintf(&b, "$ %s\n%s", command, steady(output, server))
			if output != "" && !strings.HasSuffix(output, "\n") {
				b.WriteString("[no newline]\n")
			}
			if code != 0 {
				fmt.Fprintf(&b, "[%d]\n", code)
			}
		}
		return b.String()
	}
}

// sum is the last line of the doctor.
var sum = regexp.MustCompile(`(?m)^(.*\d problems?\S*, )(\d+) notes?$`)

// steady gives the same text in each run to what differs between runs: the
// server's address and version, moments, and what the server weighs; and to
// what differs between versions of the scripts: their digests and lines. The note about
// the holes that a version has is left out, and not counted: see TestOpenHoles.
func steady(output string, server *redisserver.Server) string {
	output = strings.ReplaceAll(output, server.Addr, "127.0.0.1:6379")
	if holes, _ := openHoles(server.Program.Name, server.Program.Version); len(holes) > 0 {
		output = sum.ReplaceAllStringFunc(output, func(line string) string {
			words := sum.FindStringSubmatch(line)
			notes, _ := strconv.ParseInt(words[2], 10, 64)
			return words[1] + counted(notes-1, "note", "notes")
		})
	}
	for _, script := range wildkey.Scripts() {
		digest := fmt.Sprintf("<%-38s>", "digest of "+script.Name+".lua in SHA1SUMS") // as wide as it is
		output = strings.ReplaceAll(output, script.SHA1, digest)
	}
	for pattern, text := range map[string]string{
		`(?m)^\S*note\S* +lua .*\n(?: {19}.*\n)+`: ``,
		`(?m)^{"matter":"lua".*\n`:                ``,
		`"expires_at":\d{13}`:                     `"expires_at":1767225600000`,
		`expires at \d{13}`:                       `expires at 1767225600000`,
		`[\d.]+ [KM]iB used`:                      `1.1 MiB used`,
		`script: (?:<.*?>, )?on @user_script:\d+`: `script: <place>, on @user_script:57`,                                      // Valkey 9 has no digest
		`No permissions to access a key`:          `this user has no permissions to access one of the keys used as arguments`, // the words of Redis 8 and Valkey 9
		`User \w+ has no perm`:                    `this user has no perm`,                                                    // Redis 7.2's words
		`(redis|valkey) \d[\d.]* at`:              `redis 7.0.15 at`,
	} {
		output = regexp.MustCompile(pattern).ReplaceAllString(output, text)
	}
	return output
}
