package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// asTool is set where this test binary is to be the tool.
const asTool = "WILDKEY_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	// Built with -race, each of the hundreds of processes would wait a second before it ends.
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	if os.Getenv(asTool) != "" {
		completionTime = time.Minute // a busy machine may need more than people have
		main()
	}
	os.Exit(m.Run())
}

// toolCommand returns the tool as a process of its own, for this server.
func toolCommand(t *testing.T, server *redisserver.Server, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	must(t, err)
	command := exec.Command(binary, args...)
	command.Env = append(os.Environ(), asTool+"=1", "REDIS_URL=redis://"+server.Addr, "WILDKEY_NAMESPACE=app")
	return command
}

// shell returns a function that runs a command line with the tool and
// redis-cli on its PATH, both for this server, and returns all output.
func shell(t *testing.T, server *redisserver.Server) func(line string) (output string, code int) {
	t.Helper()
	return shellAt(t, server, 0)
}

// shellAt is shell at a terminal of so many columns, or with 0 at none.
func shellAt(t *testing.T, server *redisserver.Server, columns int) func(line string) (output string, code int) {
	t.Helper()
	binary, err := os.Executable()
	must(t, err)
	cli, err := exec.LookPath("redis-cli")
	must(t, err)
	_, port, err := net.SplitHostPort(server.Addr)
	must(t, err)
	bin, home := t.TempDir(), t.TempDir()
	for name, script := range map[string]string{
		"wildkey":   fmt.Sprintf("#!/bin/sh\n%s=1 exec %s \"$@\"\n", asTool, binary),
		"redis-cli": fmt.Sprintf("#!/bin/sh\nexec %s -p %s \"$@\"\n", cli, port),
	} {
		must(t, os.WriteFile(filepath.Join(bin, name), []byte(script), 0o777))
	}
	sums, err := os.ReadFile("../../scripts/SHA1SUMS")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(home, "SHA1SUMS"), sums, 0o666))
	return func(line string) (string, int) {
		command := exec.Command("sh", "-c", line)
		command.Dir = home
		command.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"),
			"LC_ALL=C",
			"REDIS_URL=redis://"+server.Addr, "WILDKEY_NAMESPACE=app", "ADDR="+server.Addr,
			"TERM=xterm", "NO_COLOR=")
		if columns == 0 {
			output, _ := command.CombinedOutput() // how it ended is in its state
			return string(output), command.ProcessState.ExitCode()
		}
		terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 24, Cols: uint16(columns)})
		must(t, err)
		defer terminal.Close()
		output, _ := io.ReadAll(terminal) // ends with EIO, when nobody has the terminal open
		command.Wait()
		return strings.ReplaceAll(string(output), "\r\n", "\n"), command.ProcessState.ExitCode()
	}
}

// connect returns a session with the server, as a command has it.
func connect(t *testing.T, server *redisserver.Server, access access) *session {
	t.Helper()
	tool := newTool(nil, io.Discard, io.Discard)
	tool.url, tool.namespace = "redis://"+server.Addr, "app"
	s, err := tool.connect(context.Background(), access)
	must(t, err)
	t.Cleanup(s.close)
	return s
}

// waitFor waits until what must come has come.
func waitFor(t *testing.T, come func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !come(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
