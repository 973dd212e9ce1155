// Package docs holds the README and the pages of docs to what they say: it runs their code and follows their links.
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

// TestRedisCLI runs the commands for redis-cli on two pages and expects the output that
// stands there.
func TestRedisCLI(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		for _, name := range []string{"README.md", "docs/other-languages.md"} {
			shell := page.Code(t, name, "sh")
			at := slices.IndexFunc(shell, func(block string) bool { return strings.HasPrefix(block, "cd scripts\n") })
			if at < 0 {
				t.Fatalf("%s has no commands in scripts", name)
			}
			commands := shell[at]
			if b.LacksReadOnlyScripts() {
				commands = strings.ReplaceAll(commands, "EVALSHA_RO", "EVALSHA")
			}
			b.Do(t, "FLUSHALL")
			want := page.Code(t, name, "")[0]
			if diff := cmp.Diff(want, page.Shell(t, b.Server.Addr, ".", commands)); diff != "" {
				t.Errorf("(-%s +got)\n%s", name, diff)
			}
		}
	})
}
