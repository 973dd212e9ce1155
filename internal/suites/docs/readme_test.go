// Package docs runs the code of the README.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
)

// TestReadmeGo runs the programs of the README and expects the output that stands
// behind each.
func TestReadmeGo(t *testing.T) {
	programs, outputs := page.Code(t, "README.md", "go"), page.Code(t, "README.md", "text")
	if len(programs) == 0 || len(programs) != len(outputs) {
		t.Fatalf("the README has %d blocks of Go and %d of its output", len(programs), len(outputs))
	}
	for i, program := range programs {
		file := filepath.Join(t.TempDir(), "main.go")
		backend.Must(t, os.WriteFile(file, []byte(program), 0o666))
		run := exec.Command("go", "run", file)
		run.Dir = module.Path(".") // whose modules it imports
		run.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly")
		output, err := run.CombinedOutput()
		if err != nil {
			t.Errorf("%v", err)
		}
		if diff := cmp.Diff(outputs[i], string(output)); diff != "" {
			t.Errorf("(-README +got)\n%s", diff)
		}
		formatted, err := exec.Command("gofmt", "-l", file).CombinedOutput()
		if len(formatted) > 0 || err != nil {
			t.Errorf("gofmt of block %d: %s, %v", i+1, formatted, err)
		}
	}
}

// TestReadmeRedisCLI runs the README's commands for redis-cli and expects the
// output that stands there.
func TestReadmeRedisCLI(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		shell := page.Code(t, "README.md", "sh")
		at := slices.IndexFunc(shell, func(block string) bool { return strings.HasPrefix(block, "cd scripts\n") })
		if at < 0 {
			t.Fatal("the README has no commands in scripts")
		}
		commands := shell[at]
		if b.LacksReadOnlyScripts() {
			commands = strings.ReplaceAll(commands, "EVALSHA_RO", "EVALSHA")
		}
		want := page.Code(t, "README.md", "")[0]
		if diff := cmp.Diff(want, page.Shell(t, b.Server.Addr, ".", commands)); diff != "" {
			t.Errorf("(-README +got)\n%s", diff)
		}
	})
}
