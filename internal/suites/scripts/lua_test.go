package scripts

import (
	"crypto/sha1"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/puclua"
	"github.com/wildkey/wildkey/luatest"
)

// TestScriptsOnLua runs the scripts on the Lua interpreters of PUC-Rio: each
// run of the corpus and each malformed call is recorded on the engine, and
// replayed there with the recorded answers to redis.call and redis.sha1hex. The
// same calls must be made and the same reply returned.
func TestScriptsOnLua(t *testing.T) {
	harness, err := os.ReadFile(module.Path("scripts/testdata/replay.lua"))
	backend.Must(t, err)
	for _, version := range puclua.Versions {
		t.Run(version, func(t *testing.T) {
			for _, script := range wildkey.Scripts() {
				runs, n := recordRuns(t, script)
				program := "local source, runs = " + puclua.Quote(script.Source) + ", {\n" + runs + "}\n" + string(harness)
				want := fmt.Sprintf("replayed %d\n", n)
				if got := puclua.Run(t, version, program); got != want || n == 0 {
					t.Errorf("%s.lua on Lua %s: %swant %s", script.Name, version, got, want)
				}
			}
		})
	}
}

// recordRuns returns all runs of a script, as items of a Lua table.
func recordRuns(t *testing.T, script wildkey.Script) (runs string, n int) {
	t.Helper()
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		digest := corpus.Load(t, b.Client, script.Name)
		record := func(name string) {
			trace := b.Engine.Trace()
			for i, call := range trace {
				if call.Script != "" || !strings.HasPrefix(call.Args[0], "EVALSHA") || call.Args[1] != digest {
					continue
				}
				n++
				keys, argv := call.Keys(), call.Args[3+len(call.Keys()):]
				reply := puclua.Quote(string(luatest.AppendReply(nil, call.Reply)))
				runs += fmt.Sprintf("{ case = %s, KEYS = %s, ARGV = %s, reply = %s,\n  calls = {\n",
					puclua.Quote(name), luaList(keys), luaList(argv), reply)
				digests := ""
				for _, made := range trace[i+1:] {
					if made.Script != digest {
						break
					}
					runs += fmt.Sprintf("    { args = %s, reply = %s },\n", luaList(made.Args), luaReply(made.Reply))
					if text, ok := made.Reply.(string); ok {
						digests += fmt.Sprintf("[%s] = '%x', ", puclua.Quote(text), sha1.Sum([]byte(text)))
					}
				}
				runs += "  },\n  sha1 = { " + digests + "} },\n"
			}
			b.Engine.ResetTrace()
		}
		for _, declaredOnly := range []bool{false, true} { // if so, put.lua's collecting and match.lua's look-ups fail
			b.Engine.SetDeclaredKeysOnly(declaredOnly)
			for _, one := range corpus.Read(t, script.Name) {
				one.Run(t, b)
				record(one.Name)
			}
		}
		backend.Must(t, b.Client.FlushAll(ctx).Err())
		for i, call := range corpus.MalformedCalls()[script.Name] {
			b.Client.EvalSha(ctx, digest, call.Keys, call.Args...)
			record(fmt.Sprintf("malformed call %d", i))
		}
	})
	return runs, n
}

func luaList(items []string) string {
	var b strings.Builder
	b.WriteString("{ ")
	for _, item := range items {
		b.WriteString(puclua.Quote(item) + ", ")
	}
	return b.String() + "}"
}

// luaReply writes a reply as redis.call returns it.
func luaReply(reply any) string {
	switch reply := reply.(type) {
	case nil:
		return "false"
	case string:
		return puclua.Quote(reply)
	case luatest.Status:
		return "{ ok = " + puclua.Quote(string(reply)) + " }"
	case luatest.Error:
		return "{ err = " + puclua.Quote(string(reply)) + " }"
	case []any:
		var b strings.Builder
		b.WriteString("{ ")
		for _, item := range reply {
			b.WriteString(luaReply(item) + ", ")
		}
		return b.String() + "}"
	}
	return fmt.Sprint(reply)
}
