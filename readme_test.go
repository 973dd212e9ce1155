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

// readmeBlocks returns the code blocks of the README in a language.
func readmeBlocks(t *testing.T, language string) []string {
	t.Helper()
	content, err := os.ReadFile("README.md")
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
	blocks := readmeBlocks(t, "go")
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
		commands := readmeBlocks(t, "sh")[1]
		if lacksReadOnlyScripts(b) {
			commands = strings.ReplaceAll(commands, "EVALSHA_RO", "EVALSHA")
		}
		want := readmeBlocks(t, "")[0]
		_, port, err := net.SplitHostPort(b.server.Addr)
		must(t, err)
		cli, err := exec.LookPath("redis-cli")
		must(t, err)
		// --no-raw has redis-cli print as on a terminal; -x loads must stay bare.
		bin := t.TempDir()
		wrapper := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -x ] && exec %s -p %s \"$@\"\nexec %s --no-raw -p %s \"$@\"\n", cli, port, cli, port)
		must(t, os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(wrapper), 0o777))
		shell := exec.Command("sh", "-e", "-c", commands)
		shell.Env = append(os.Environ(), "LC_ALL=C", "PATH="+bin+":"+os.Getenv("PATH"))
		output, err := shell.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if diff := cmp.Diff(want, string(output)); diff != "" {
			t.Errorf("(-README +got)\n%s", diff)
		}
	})
}
