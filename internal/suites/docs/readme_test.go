// Package docs runs the code of the README.
package docs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
)

// TestReadmeGo holds the Go code of the README against the examples that are
// compiled and run.
func TestReadmeGo(t *testing.T) {
	content, err := os.ReadFile(module.Path("example_test.go"))
	backend.Must(t, err)
	examples := strings.ReplaceAll(string(content), "\n\t", "\n")
	blocks := page.Code(t, "README.md", "go")
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
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		commands := page.Code(t, "README.md", "sh")[1]
		if b.LacksReadOnlyScripts() {
			commands = strings.ReplaceAll(commands, "EVALSHA_RO", "EVALSHA")
		}
		want := page.Code(t, "README.md", "")[0]
		if diff := cmp.Diff(want, page.Shell(t, b.Server.Addr, ".", commands)); diff != "" {
			t.Errorf("(-README +got)\n%s", diff)
		}
	})
}
