// Package puclua runs Lua programs on the interpreters of PUC-Rio, for tests
// that scripts mean the same to each version.
package puclua

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// RequireEnv names the variable that, set to 1, turns a missing interpreter
// from a skip into a failure.
const RequireEnv = "WILDKEY_REQUIRE_LUA"

// Versions are those that scripts should run on: the one that Redis has, and
// the latest that stays close to it.
var Versions = []string{"5.1", "5.4"}

// Run runs a program on one version and returns what it prints. With no such
// interpreter on the PATH the test is skipped, or fails if RequireEnv is 1. A
// program that fails fails the test.
func Run(tb testing.TB, version, program string) string {
	tb.Helper()
	name := "lua" + version
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv(RequireEnv) == "1" {
			tb.Fatalf("%s=1, and there is no %s: %v", RequireEnv, name, err)
		}
		tb.Skipf("no %s on the PATH", name)
	}
	command := exec.Command(path, "-")
	command.Stdin = strings.NewReader(program)
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, problems.Bytes())
	}
	return output.String()
}

// Quote writes a string as a literal that every version reads alike.
func Quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		c := text[i]
		if c >= ' ' && c <= '~' && c != '"' && c != '\\' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'\\', '0' + c/100, '0' + c/10%10, '0' + c%10})
	}
	b.WriteByte('"')
	return b.String()
}
