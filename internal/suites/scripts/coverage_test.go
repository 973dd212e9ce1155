// Package scripts runs the corpus line by line, on Lua interpreters, and byte
// by byte against servers.
package scripts

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

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

// permissionCheck is where a script asks whether its user may call a command; put.lua
// asks for the verbs that a call has.
var permissionCheck = regexp.MustCompile(`(?:lacks\('(\w+)', |asked\.(\w+) and not may\(|may\()'([A-Z]+)'(?:\)|, index|, ')`)

// argumentsOf has, for each verb of put.lua, the arguments of a record.
var argumentsOf = map[string][]any{
	"put":    {"60000", "*", "v"},
	"touch":  {"touch never", "*", ""},
	"delete": {"delete", "*", ""},
}

// runScripts runs all cases of the corpus, all malformed calls, and a call for
// each permission that a script asks for, without it, on engines that setUp has
// prepared, and holds each case against what the corpus has.
func runScripts(t *testing.T, setUp func(*luatest.Engine)) {
	t.Helper()
	for _, script := range wildkey.Scripts() {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
			setUp(b.Engine)
			for _, want := range corpus.Read(t, script.Name) {
				if diff := cmp.Diff(want.String(), want.Run(t, b).String()); diff != "" {
					t.Errorf("%s: %s (-want +got)\n%s", script.Name, want.Name, diff)
				}
			}
			digest := corpus.Load(t, b.Client, script.Name)
			calls := corpus.MalformedCalls()[script.Name]
			for _, check := range permissionCheck.FindAllStringSubmatch(script.Source, -1) {
				verb, command, args := check[1]+check[2], check[3], calls[0].Args
				if verb != "" {
					args = argumentsOf[verb]
				}
				backend.Must(t, b.Engine.SetUser("~* +@all -"+strings.ToLower(command)))
				err := b.Client.EvalSha(ctx, digest, calls[0].Keys, args...).Err()
				if want := "NOPERM " + script.Name + ": the user may not call " + command; err == nil || err.Error() != want {
					t.Errorf("%s %s without permission for %s: %v, want %s", script.Name, verb, command, err, want)
				}
			}
			backend.Must(t, b.Engine.SetUser("~* +@all"))
			for _, call := range calls[1:] {
				err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Err()
				if !redis.HasErrorPrefix(err, "BADARG ") {
					t.Errorf("%s: %.200q %.200q: %v, want BADARG", script.Name, call.Keys, call.Args, err)
				}
			}
			switch script.Name {
			case "match":
				runMoves(t, b, digest)
			case "put":
				runCollecting(t, b, digest)
				runRestricted(t, b, digest)
			case "delete":
				runLargeDelete(t, b, digest)
			}
		})
	}
}

// runRestricted has put.lua ask about each record, of a user who may not write to
// the bare prefix.
func runRestricted(t *testing.T, b *backend.Backend, digest string) {
	t.Helper()
	backend.Must(t, b.Engine.SetUser("~{t}/keys ~{t}:a ~{t}:b +@all"))
	put := func() (int, error) {
		return b.Client.EvalSha(ctx, digest, []string{"{t}/keys", "{t}:a", "{t}:b"}, "60000", "*", "v", "delete", "*", "").Int()
	}
	if n, err := put(); n != 1 || err != nil {
		t.Errorf("put.lua by a user who may write a and b: %d, %v", n, err)
	}
	backend.Must(t, b.Engine.SetUser("~{t}/keys ~{t}:a ~{t}:b +@all -unlink"))
	if n, err := put(); !redis.HasErrorPrefix(err, "NOPERM put: the user may not call UNLINK") {
		t.Errorf("put.lua by a user who may not delete b: %d, %v", n, err)
	}
	backend.Must(t, b.Engine.SetUser("~* +@all"))
}

// runLargeDelete has delete.lua call UNLINK several times, for which it asks before.
func runLargeDelete(t *testing.T, b *backend.Backend, digest string) {
	t.Helper()
	keys := []string{"{t}/keys"}
	for n := range 1_500 {
		keys = append(keys, fmt.Sprint("{t}:", n))
	}
	for permissions, want := range map[string]string{
		"~* +@all":         "",
		"~* +@all -unlink": "NOPERM delete: the user may not call UNLINK",
	} {
		backend.Must(t, b.Engine.SetUser(permissions))
		if err := b.Client.EvalSha(ctx, digest, keys, "count").Err(); want == "" && err != nil || !redis.HasErrorPrefix(err, want) && want != "" {
			t.Errorf("delete.lua for %d records by %s: %v, want %s", len(keys)-1, permissions, err, want)
		}
	}
	backend.Must(t, b.Engine.SetUser("~* +@all"))
}

// runMoves has match.lua look records up as their slot moves: one of them has come
// to another node, or is yet to come to this one.
func runMoves(t *testing.T, b *backend.Backend, digest string) {
	t.Helper()
	b.Do(t, "FLUSHALL")
	b.Do(t, "ZADD", "{t}/keys", 0, "there", 0, "yet-to-come")
	b.Do(t, "SET", "{t}:there", "v")
	client := b.NewClient(t, func(o *redis.Options) { o.MaxRetries = -1 }) // go-redis calls again at TRYAGAIN
	const tryAgain = "TRYAGAIN match: the slot moves, and a record is on another node"
	for reply, want := range map[string]string{
		"ERR Script attempted to access a non local key in a cluster node":                                                    tryAgain,
		"ERR Unable to execute command 'exists' in script because undeclared keys were accessed during rehashing of the slot": tryAgain,
		"WRONGTYPE of anything else": "WRONGTYPE of anything else",
	} {
		for _, row := range []struct {
			want  string
			calls []int // that look records up
		}{
			{"values", []int{2, 4}},  // MGET of each; EXISTS of the one that is not there
			{"records", []int{2, 5}}, // and PTTL of the one that is
			{"keys", []int{2, 3, 4}}, // EXISTS of both, and of each
			{"count", []int{2, 3, 4}},
		} {
			for _, call := range row.calls {
				b.Engine.FailCall(call, luatest.Error(reply))
				err := client.EvalSha(ctx, digest, []string{"{t}/keys"}, row.want, "", 9, 9, 99, "**").Err()
				if err == nil || err.Error() != want {
					t.Errorf("match.lua for %s, where call %d fails with %s: %v, want %s", row.want, call, reply, err, want)
				}
			}
		}
	}
}

// runCollecting has put.lua find stale entries so long that it does not come to
// their end; and then short ones, until a look has begun behind the last of them.
func runCollecting(t *testing.T, b *backend.Backend, digest string) {
	t.Helper()
	const behind = 12 // each new record lie so many stale entries
	put := func(n, length int) (left int64) {
		b.Do(t, "FLUSHALL")
		keys, args, stale := []string{"{t}/keys"}, []any{}, []any{"ZADD", "{t}/keys"}
		for i := range n {
			member := fmt.Sprintf("%04d", i)
			keys, args = append(keys, "{t}:"+member), append(args, "60000", "*", "v")
			for letter := range behind {
				stale = append(stale, 0, member+strings.Repeat(string(rune('a'+letter)), length-len(member)))
			}
		}
		b.Do(t, stale...)
		b.Engine.ResetTrace()
		backend.Must(t, b.Client.EvalSha(ctx, digest, keys, args...).Err())
		return b.Do(t, "ZCARD", "{t}/keys").(int64) - int64(n)
	}
	if left := put(60, 4096); left == 0 || left == 60*behind {
		t.Errorf("a put of 60 leaves %d of %d long stale entries", left, 60*behind)
	}
	behindTheLast := func(call luatest.Call) bool {
		found, ok := call.Reply.([]any)
		return ok && call.Args[0] == "ZRANGEBYLEX" && len(found) == 0
	}
	for tries := 0; !slices.ContainsFunc(b.Engine.Trace(), behindTheLast); tries++ {
		if put(64, 5); tries == 1000 {
			t.Fatal("no look begins behind the last entry in 1,000 puts")
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
	runScripts(t, func(engine *luatest.Engine) { engine.SetPortable(luatest.Everywhere) })
}
