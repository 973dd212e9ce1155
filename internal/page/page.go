// Package page reads the Markdown pages of this module and runs the commands
// that stand there, for tests that hold a page to what it says.
package page

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/wildkey/wildkey/internal/module"
)

var codeBlock = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// Code returns the code blocks of a page that are in one language, or in none.
func Code(t *testing.T, page, language string) []string {
	t.Helper()
	content, err := os.ReadFile(module.Path(page))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, block := range codeBlock.FindAllStringSubmatch(string(content), -1) {
		if block[1] == language {
			blocks = append(blocks, block[2])
		}
	}
	return blocks
}

// Shell runs commands in a directory of the module and returns their output.
// There redis-cli talks to the server at addr and prints as on a terminal.
func Shell(t *testing.T, addr, dir, commands string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal(err)
	}
	// Other commands read the reply to redis-cli -x: it stays bare.
	bin := t.TempDir()
	bare := fmt.Sprintf("exec %s -p %s", cli, port)
	wrapper := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = -x ] && %s \"$@\"\n%s --no-raw \"$@\"\n", bare, bare)
	if err := os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(wrapper), 0o777); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-e", "-c", commands)
	shell.Dir = module.Path(dir)
	shell.Env = append(os.Environ(), "LC_ALL=C", "PATH="+bin+":"+os.Getenv("PATH"))
	output, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return string(output)
}
