package wildkey_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// codeBlocks returns the code blocks of a Markdown file in a language.
func codeBlocks(t *testing.T, path, language string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	var blocks []string
	for _, block := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(string(content), -1) {
		if block[1] == language {
			blocks = append(blocks, block[2])
		}
	}
	return blocks
}

// TestReadmeGo holds the Go code of the README against the examples that are
// compiled and run.
func TestReadmeGo(t *testing.T) {
	content, err := os.ReadFile("example_test.go")
	must(t, err)
	examples := strings.ReplaceAll(string(content), "\n\t", "\n")
	blocks := codeBlocks(t, "README.md", "go")
	if len(blocks) == 0 {
		t.Error("the README has no Go code")
	}
	for _, block := range blocks {
		if !strings.Contains(examples, block) {
			t.Errorf("not in example_test.go:\n%s", block)
		}
	}
}

// TestReadmeRedisCLI runs the README's commands for redis-cli and expects the
// output that stands there.
func TestReadmeRedisCLI(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		commands := codeBlocks(t, "README.md", "sh")[1]
		if lacksReadOnlyScripts(b) {
			commands = strings.ReplaceAll(commands, "EVALSHA_RO", "EVALSHA")
		}
		want := codeBlocks(t, "README.md", "")[0]
		if diff := cmp.Diff(want, b.shell(t, ".", commands)); diff != "" {
			t.Errorf("(-README +got)\n%s", diff)
		}
	})
}

// shell runs commands in a directory, with redis-cli talking to this server and
// printing as on a terminal, and returns what they print.
func (b *backend) shell(t *testing.T, dir, commands string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(b.server.Addr)
	must(t, err)
	cli, err := exec.LookPath("redis-cli")
	must(t, err)
	// What -x answers is for other commands to read: it stays bare.
	bin := t.TempDir()
	bare := fmt.Sprintf("exec %s -p %s", cli, port)
	wrapper := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -x ] && %s \"$@\"\n%s --no-raw \"$@\"\n", bare, bare)
	must(t, os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(wrapper), 0o777))
	shell := exec.Command("sh", "-e", "-c", commands)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "LC_ALL=C", "PATH="+bin+":"+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return string(output)
}
