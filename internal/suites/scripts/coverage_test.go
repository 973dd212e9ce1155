// Package scripts runs the corpus line by line, on Lua interpreters, and byte
// by byte against servers.
package scripts

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

var listing = flag.Bool("listing", false, "print the coverage of the scripts, with their source")

var permissionCheck = regexp.MustCompile(`may\('([A-Z]+)'`)

// runScripts runs all cases of the corpus, all malformed calls, and a call for
// each permission that a script asks for, without it, on engines that setUp has
// prepared, and holds each case against what the corpus has.
func runScripts(t *testing.T, setUp func(*luatest.Engine)) {
	t.Helper()
	for _, script := range wildkey.Scripts() {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
			setUp(b.Engine)
			b.Engine.Advance(987_654 * time.Microsecond) // so that a fraction of a second counts
			for _, want := range corpus.Read(t, script.Name) {
				if diff := cmp.Diff(want.String(), want.Run(t, b).String()); diff != "" {
					t.Errorf("%s: %s (-want +got)\n%s", script.Name, want.Name, diff)
				}
			}
			digest := corpus.Load(t, b.Client, script.Name)
			calls := corpus.MalformedCalls()[script.Name]
			for _, check := range permissionCheck.FindAllStringSubmatch(script.Source, -1) {
				backend.Must(t, b.Engine.SetUser("~* +@all -"+strings.ToLower(check[1])))
				err := b.Client.EvalSha(ctx, digest, calls[0].Keys, calls[0].Args...).Err()
				if !redis.HasErrorPrefix(err, "NOPERM ") || !strings.Contains(err.Error(), script.Name+": ") {
					t.Errorf("%s without permission for %s: %v, want its NOPERM", script.Name, check[1], err)
				}
			}
			backend.Must(t, b.Engine.SetUser("~* +@all"))
			for _, call := range calls[1:] {
				err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Err()
				if !redis.HasErrorPrefix(err, "BADARG ") {
					t.Errorf("%s: %.200q %.200q: %v, want BADARG", script.Name, call.Keys, call.Args, err)
				}
			}
			if script.Name == "match" {
				runMoves(t, b, digest)
			}
		})
	}
}

// runMoves has match.lua look a record up as its slot moves, at the node that it
// leaves and at the one that it has yet to come to.
func runMoves(t *testing.T, b *backend.Backend, digest string) {
	t.Helper()
	const nonLocal = "ERR Script attempted to access a non local key in a cluster node"
	b.Do(t, "FLUSHALL")
	b.Do(t, "ZADD", "{t}/keys", 0, "there", 0, "yet to come")
	b.Do(t, "SET", "{t}:there", "v")
	client := b.NewClient(t, func(o *redis.Options) { o.MaxRetries = -1 }) // go-redis calls again at TRYAGAIN
	for _, row := range []struct {
		call        int // TIME, ZRANGEBYLEX, MGET of there, MGET of yet to come, MGET of that and the index
		reply, want string
	}{
		{3, nonLocal, "TRYAGAIN match: the slot moves"},
		{5, nonLocal, "TRYAGAIN match: the slot moves"},
		{3, "WRONGTYPE of anything else", "WRONGTYPE of anything else"},
	} {
		b.Engine.FailCall(row.call, luatest.Error(row.reply))
		err := client.EvalSha(ctx, digest, []string{"{t}/keys", "{t}/expiry"}, "values", "", 9, 9, 99, "**").Err()
		if !redis.HasErrorPrefix(err, row.want) {
			t.Errorf("match.lua, where call %d fails with %s: %v, want %s", row.call, row.reply, err, row.want)
		}
	}
}

// TestScriptCoverage runs the scripts offline and wants every line run and
// every branch taken, or explained in scripts/testdata/uncovered.txt.
func TestScriptCoverage(t *testing.T) {
	coverage := luatest.NewCoverage()
	runScripts(t, func(engine *luatest.Engine) { engine.SetCoverage(coverage) })
	bySHA1 := map[string]luatest.ScriptCoverage{}
	for _, script := range coverage.Scripts() {
		bySHA1[script.SHA1] = script
	}
	explained, order := readExplanations(t)
	table := fmt.Sprintf("%-8s %18s %24s %10s\n", "script", "lines", "branches", "explained")
	for _, script := range wildkey.Scripts() {
		covered := bySHA1[script.SHA1]
		if len(covered.Lines) == 0 {
			t.Errorf("%s has not run", script.Name)
			continue
		}
		for _, line := range covered.UncoveredLines() {
			t.Errorf("%s.lua:%d never runs: %s", script.Name, line, sourceLine(script, line))
		}
		uncovered := covered.UncoveredBranches()
		for _, branch := range uncovered {
			at := uncoveredBranch{script.Name, sourceLine(script, branch.Line), branch.Branch}
			if _, ok := explained[at]; !ok {
				t.Errorf("%s.lua:%d never goes this way, and scripts/testdata/uncovered.txt does not say why not:\n%s",
					script.Name, branch.Line, at)
			}
			explained[at] = true
		}
		if *listing {
			fmt.Printf("== %s.lua: times run, line\n%s\n", script.Name, covered.Listing())
		}
		lines, branches := len(covered.Lines), len(covered.Branches)
		table += fmt.Sprintf("%-8s %18s %24s %10d\n", script.Name, share(lines-len(covered.UncoveredLines()), lines),
			share(branches-len(uncovered), branches), len(uncovered))
	}
	for _, at := range order {
		if !explained[at] {
			t.Errorf("scripts/testdata/uncovered.txt explains what is taken, or is no longer there:\n%s", at)
		}
	}
	if *listing {
		fmt.Print(table)
	}
}

func share(n, of int) string {
	return fmt.Sprintf("%d of %d %5.1f%%", n, of, 100*float64(n)/float64(of))
}

func sourceLine(script wildkey.Script, line int) string {
	return strings.TrimSpace(strings.Split(script.Source, "\n")[line-1])
}

// uncoveredBranch is a branch that uncovered.txt explains.
type uncoveredBranch struct{ script, line, branch string }

func (u uncoveredBranch) String() string {
	return fmt.Sprintf("%s: %s\n  %s\n", u.script, u.line, u.branch)
}

// readExplanations returns the branches that uncovered.txt explains, and their
// order there.
func readExplanations(t *testing.T) (explained map[uncoveredBranch]bool, order []uncoveredBranch) {
	t.Helper()
	content, err := os.ReadFile(module.Path("scripts/testdata/uncovered.txt"))
	backend.Must(t, err)
	explained = map[uncoveredBranch]bool{}
	for _, paragraph := range strings.Split(strings.TrimSpace(string(content)), "\n\n") {
		if strings.HasPrefix(paragraph, "#") {
			continue
		}
		first, rest, _ := strings.Cut(paragraph, "\n")
		script, line, _ := strings.Cut(first, ": ")
		reason := false
		for _, text := range strings.Split(rest, "\n") {
			branch, indented := strings.CutPrefix(text, "  ")
			if !indented {
				reason = len(text) > 0
				break
			}
			at := uncoveredBranch{script, line, branch}
			explained[at] = false
			order = append(order, at)
		}
		if line == "" || !reason {
			t.Fatalf("scripts/testdata/uncovered.txt: want a script and line, branches, a reason:\n%s", paragraph)
		}
	}
	return explained, order
}

// TestScriptsArePortable runs the scripts with luatest's portability check.
func TestScriptsArePortable(t *testing.T) {
	runScripts(t, func(engine *luatest.Engine) { engine.SetPortable(true) })
}
