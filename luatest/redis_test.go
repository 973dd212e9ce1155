package luatest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// rawConn speaks RESP2 and keeps each reply as the bytes that arrived.
type rawConn struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialServer(t testing.TB) *rawConn {
	t.Helper()
	return dial(t, redisserver.Start(t).Addr)
}

func dial(t testing.TB, addr string) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawConn{conn, bufio.NewReader(conn)}
}

func dialEngine(t testing.TB, e *Engine) *rawConn {
	t.Helper()
	conn, err := e.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &rawConn{conn, bufio.NewReader(conn)}
}

func (c *rawConn) do(t testing.TB, args ...string) string {
	t.Helper()
	request := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, arg := range args {
		request = AppendReply(request, arg)
	}
	if _, err := c.conn.Write(request); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	reply, err := readReply(c.in)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return reply
}

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$':
		if n < 0 {
			return line, nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(in, body)
		return line + string(body), err
	case '*':
		for range n {
			item, err := readReply(in)
			if err != nil {
				return "", err
			}
			line += item
		}
	}
	return line, nil
}

// sortedItems makes replies whose order Redis leaves open comparable.
func sortedItems(reply string) string {
	items := strings.Split(reply, "\r\n")
	slices.Sort(items)
	return strings.Join(items, "\n")
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

// TestAgainstServer gives the commands in testdata to an engine and to a
// server, and compares the replies byte for byte as they come over the wire.
//
// A file has one command a line. A blank line empties the keyspace. A line
// that begins with "sorted" compares the reply's items in any order; one that
// begins with "lua" is a script without keys.
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
			engine := New()
			defer engine.Close()
			engine.SetNow(time.Now())
			got, want := dialEngine(t, engine), dialServer(t)
			for i, line := range strings.Split(string(text), "\n") {
				var args []string
				sorted := false
				switch {
				case strings.HasPrefix(line, "#"):
					continue
				case line == "":
					args = []string{"FLUSHALL"}
				case strings.HasPrefix(line, "lua "):
					args = []string{"EVAL", line[len("lua "):], "0"}
				default:
					var rest string
					rest, sorted = strings.CutPrefix(line, "sorted ")
					args = splitLine(t, rest)
				}
				gotReply, wantReply := got.do(t, args...), want.do(t, args...)
				if sorted {
					gotReply, wantReply = sortedItems(gotReply), sortedItems(wantReply)
				}
				if diff := cmp.Diff(wantReply, gotReply); diff != "" {
					t.Errorf("%s:%d: %s\n got %q\nwant %q", file, i+1, line, gotReply, wantReply)
				}
			}
		})
	}
}
