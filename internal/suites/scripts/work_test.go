package scripts

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
)

// TestScriptWork holds the work of each case of the corpus against
// scripts/testdata/work.txt, so that a change of it is seen in review.
func TestScriptWork(t *testing.T) {
	path := module.Path("scripts/testdata/work.txt")
	got := "# The work of each case of the corpus: instructions of the Lua machine, calls of redis.call.\n" +
		"# Rewritten by: make generated\n"
	for _, script := range wildkey.Scripts() {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
			got += "\n"
			for _, one := range corpus.Read(t, script.Name) {
				b.Engine.ResetTrace()
				one.Run(t, b)
				calls := 0
				for _, call := range b.Engine.Trace() {
					if call.Script != "" {
						calls++
					}
				}
				got += fmt.Sprintf("%-6s %7d %5d  %s\n", script.Name, b.Engine.Instructions(), calls, one.Name)
			}
		})
	}
	if *corpus.Update {
		backend.Must(t, os.WriteFile(path, []byte(got), 0o666))
	}
	want, err := os.ReadFile(path)
	backend.Must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the scripts do other work than before; is it meant? (-want +got)\n%s", diff)
	}
}
