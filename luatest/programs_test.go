package luatest_test

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/luaprogram"
)

var (
	programCount = flag.Int("programs", 3_000, "how many programs TestProgramsAgainstServer gives each server")
	programSeed  = flag.Uint64("program-seed", 0, "what they are drawn from; 0: the time")
)

// perBatch is how many programs go in one round trip, and how many batches
// until both sides forget what they have compiled.
const (
	perBatch  = 50
	perMemory = 20
)

// TestProgramsAgainstServer compares what random Lua programs return. One that
// differs is shrunk.
func TestProgramsAgainstServer(t *testing.T) {
	onServersOf70(t, func(t *testing.T, pair *differ.Pair) {
		seed := *programSeed
		if seed == 0 {
			seed = uint64(time.Now().UnixNano())
		}
		t.Logf("reproduce with -program-seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		for batch := range (*programCount + perBatch - 1) / perBatch {
			if batch%perMemory == 0 {
				if err := pair.Reset(); err != nil {
					t.Fatal(err)
				}
			}
			programs := make([]*luaprogram.Tree, perBatch)
			for i := range programs {
				programs[i] = luaprogram.Draw(r)
			}
			for i, differs := range differing(t, pair, programs) {
				if differs {
					reportProgram(t, pair, programs[i], seed)
					return
				}
			}
		}
	})
}

func reportProgram(t *testing.T, pair *differ.Pair, program *luaprogram.Tree, seed uint64) {
	t.Helper()
	program.Shrink(func() bool { return differing(t, pair, []*luaprogram.Tree{program})[0] })
	engine, server, err := pair.Batch(evalOf(program))
	if err != nil {
		t.Fatal(err)
	}
	t.Fatalf("of seed %d:\n%s\nengine %q\n%s %q", seed, program, engine[0], pair.Program, server[0])
}

func evalOf(program *luaprogram.Tree) []string { return []string{"EVAL", program.String(), "0", "3"} }

// differing runs programs on both sides and tells which of them differ.
func differing(t *testing.T, pair *differ.Pair, programs []*luaprogram.Tree) []bool {
	t.Helper()
	var commands [][]string
	for _, program := range programs {
		commands = append(commands, evalOf(program))
	}
	engine, server, err := pair.Batch(commands...)
	if err != nil {
		t.Fatal(err)
	}
	differs := make([]bool, len(programs))
	for i := range programs {
		differs[i] = withoutWords(engine[i]) != withoutWords(server[i])
	}
	return differs
}

// machineError is an error that the Lua machine raises, for which the engine
// has other words, with where it was raised.
var machineError = regexp.MustCompile(`^-ERR (?:user_script:\d+: )*(?:` +
	`attempt to (?:call|index|perform|compare|concatenate|get length)|` +
	`cannot perform|__\w+ undefined|stack overflow|callstack overflow).*, on (.*)$`)

// calledAs is the name by which a function was called, which Lua does not know
// in a function of more than 256 constants.
var calledAs = regexp.MustCompile(`(bad argument #\d+ to|calling) '[^']*'`)

// withoutWords is a reply of which only the place of a machine's error is left.
func withoutWords(reply string) string {
	reply = calledAs.ReplaceAllString(strings.TrimSuffix(reply, "\r\n"), "$1 it")
	return machineError.ReplaceAllString(reply, "- on $1")
}
