package luatest_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// onServers runs a test on the engine paired with each server.
func onServers(t *testing.T, test func(t *testing.T, pair *differ.Pair)) {
	t.Helper()
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		pair, err := differ.NewPair(server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pair.Close)
		test(t, pair)
	})
}

// onServersOf70 is onServers on those of the version that the engine models.
func onServersOf70(t *testing.T, test func(t *testing.T, pair *differ.Pair)) {
	t.Helper()
	onServers(t, func(t *testing.T, pair *differ.Pair) {
		if pair.Program.Minor() != "redis-7.0" {
			t.Skip("the engine is a Redis 7.0; testdata/versions has how others differ")
		}
		test(t, pair)
	})
}

// splitLine parses a line of a testdata file: words, or Go strings in double
// quotes, separated by single spaces.
func splitLine(t testing.TB, line string) []string {
	t.Helper()
	var args []string
	for line != "" {
		if line[0] == '"' || line[0] == '`' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			arg, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			args = append(args, arg)
			line = strings.TrimPrefix(line[len(quoted):], " ")
			continue
		}
		var word string
		word, line, _ = strings.Cut(line, " ")
		args = append(args, word)
	}
	return args
}

var record = flag.Bool("record", false, "rewrite testdata/versions for the servers that the tests run on")

// TestAgainstServer gives the commands in testdata to an engine and to a
// server, and compares the replies byte for byte as they come over the wire,
// and the keyspaces.
//
// A file has one command a line. A blank line empties the keyspace. A line
// that begins with "sorted" compares the reply's items in any order; one that
// begins with "lua" is a script without keys. Where a version such as 7.2 replies
// otherwise, testdata/versions has the line and, indented, its reply, and no other line.
func TestAgainstServer(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			onServers(t, func(t *testing.T, pair *differ.Pair) {
				path := filepath.Join("testdata", "versions", pair.Program.Minor()+"-"+filepath.Base(file))
				known, err := os.ReadFile(path)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				var differences strings.Builder
				for i, line := range strings.Split(string(text), "\n") {
					difference := runLine(t, pair, line)
					if difference == "" {
						continue
					}
					differences.WriteString(difference)
					if !strings.Contains("\n"+string(known), "\n"+difference) && !*record {
						t.Errorf("%s:%d: the engine replies otherwise than\n%s", file, i+1, difference)
					}
					if err := pair.Align(); err != nil {
						t.Fatal(err)
					}
				}
				switch {
				case differences.String() == string(known):
				case !*record:
					t.Errorf("%s is not what differs; rewrite it with -record", path)
				default:
					if err := os.WriteFile(path, []byte(differences.String()), 0o666); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// runLine runs one line on both sides. If they differ it returns the line and,
// indented, what the server replies.
func runLine(t *testing.T, pair *differ.Pair, line string) string {
	t.Helper()
	command, sorted := strings.CutPrefix(line, "sorted ")
	var args []string
	switch source, lua := strings.CutPrefix(line, "lua "); {
	case strings.HasPrefix(line, "#"):
		return ""
	case line == "":
		if err := pair.SameKeyspace(); err != nil {
			t.Error(err)
		}
		args = []string{"FLUSHALL"}
	case lua:
		args = []string{"EVAL", source, "0"}
	default:
		args = splitLine(t, command)
	}
	engine, server, err := pair.Do(args...)
	if err != nil {
		t.Fatal(err)
	}
	if sorted {
		engine, server = differ.Sorted(engine), differ.Sorted(server)
	}
	if engine == server {
		return ""
	}
	return fmt.Sprintf("%s\n\t%q\n", line, server)
}
