package luatest

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func run(t *testing.T, engine *Engine, source string, argv ...string) any {
	t.Helper()
	return engine.Do(append([]string{"EVAL", source, "0"}, argv...)...)
}

func branchesOf(t *testing.T, c *Coverage, source string) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for _, script := range c.Scripts() {
		if script.Source == source {
			for _, branch := range script.Branches {
				counts[branch.Branch] += branch.Count
			}
		}
	}
	return counts
}

func TestCoverageOfBranches(t *testing.T) {
	for _, test := range []struct {
		name, source string
		runs         [][]string
		want         map[string]int
	}{
		{"if and elseif",
			"if #ARGV == 0 then return 1 elseif ARGV[1] then return 2 else return 3 end", [][]string{{}, {"a"}, {"b"}},
			map[string]int{"#ARGV == 0: true": 1, "#ARGV == 0: false": 2, "ARGV[1]: true": 2, "ARGV[1]: false": 0}},
		{"and, or and not in a condition",
			"if not ARGV[1] or ARGV[2] and ARGV[3] then return 1 end", [][]string{{}, {"a"}, {"a", "b"}},
			map[string]int{
				"ARGV[1]: true": 2, "ARGV[1]: false": 1, "ARGV[2]: true": 1, "ARGV[2]: false": 1,
				"ARGV[3]: true": 0, "ARGV[3]: false": 1,
			}},
		{"and and or for a value", "return ARGV[1] and 'x' or ARGV[2]", [][]string{{}, {"a"}},
			map[string]int{"ARGV[1]: true": 1, "ARGV[1]: false": 1}},
		{"comparison for a value", "local same = ARGV[1] == ARGV[2] return not same", [][]string{{"a", "a"}},
			map[string]int{"ARGV[1] == ARGV[2]: true": 1, "ARGV[1] == ARGV[2]: false": 0, "same: true": 1, "same: false": 0}},
		{"while",
			"local i = 0 while i < 2 do i = i + 1 end", [][]string{{}}, map[string]int{"i < 2: true": 2, "i < 2: false": 1}},
		{"repeat",
			"local i = 0 repeat local j = i i = i + 1 until j == 1", [][]string{{}},
			map[string]int{"j == 1: true": 1, "j == 1: false": 1}},
		{"for", "for i = 1, #ARGV do if i == 2 then break end end", [][]string{{}, {"a"}, {"a", "b", "c"}},
			map[string]int{"for i: entered": 3, "for i: skipped": 1, "i == 2: true": 1, "i == 2: false": 2}},
		{"for in", "for _, v in ipairs(ARGV) do for _ in ipairs({}) do end end", [][]string{{"a", "b"}},
			map[string]int{"for _, v: entered": 2, "for _, v: skipped": 0, "for _: entered": 0, "for _: skipped": 2}},
		{"loops that are always entered", "for i = 1, 2 do end for _ in ipairs({ 1 }) do end", [][]string{{}},
			map[string]int{"for i: entered": 2, "for _: entered": 1}},
		{"functions",
			"local t = {} local function f() end function t.g() end function t:h() end f() t.g() return type(function() end)",
			[][]string{{}},
			map[string]int{
				"function f: called": 1, "function t.g: called": 1, "function t:h: called": 0, "function: called": 0,
			}},
		{"the words of a condition",
			"if (1 + #ARGV) * 2 > 2 ^ -1 and ('a' .. 'b'):len() == 2 and not ({ a = 1 })['b c'] then return 1 end",
			[][]string{{}},
			map[string]int{
				"(1 + #ARGV) * 2 > 2 ^ -1: true": 1, "(1 + #ARGV) * 2 > 2 ^ -1: false": 0,
				"('a' .. 'b'):len() == 2: true": 1, "('a' .. 'b'):len() == 2: false": 0,
				"({...})['b c']: true": 0, "({...})['b c']: false": 1,
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			coverage := NewCoverage()
			for _, argv := range test.runs {
				engine := New()
				engine.SetCoverage(coverage)
				if failed, ok := run(t, engine, test.source, argv...).(Error); ok {
					t.Fatal(failed)
				}
			}
			if diff := cmp.Diff(test.want, branchesOf(t, coverage, test.source)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", test.source, diff)
			}
		})
	}
}

func TestCoverageListing(t *testing.T) {
	const source = `-- counts
local n = 0
for i = 1, #ARGV do
  n = n + i
end
if n > 2 then
  return redis.error_reply('TOO many')
end
return
  n
`
	engine, coverage := New(), NewCoverage()
	engine.SetCoverage(coverage)
	clone := engine.Clone()
	run(t, engine, source, "a", "b")
	run(t, clone, source, "a", "b")
	engine.SetCoverage(nil)
	run(t, engine, source)
	script := coverage.Scripts()[0]
	const want = `               1  -- counts
         2     2  local n = 0
         2     3  for i = 1, #ARGV do
!                 never  for i: skipped
         4     4    n = n + i
               5  end
         2     6  if n > 2 then
!                 never  n > 2: false
         2     7    return redis.error_reply('TOO many')
               8  end
!        0     9  return
              10    n
`
	if diff := cmp.Diff(want, script.Listing()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]int{9}, script.UncoveredLines()); diff != "" {
		t.Errorf("uncovered lines (-want +got)\n%s", diff)
	}
	if script.SHA1 != digestOf(source) || len(script.UncoveredBranches()) != 2 {
		t.Errorf("got %s with %v", script.SHA1, script.UncoveredBranches())
	}
}

// TestInstrumentedRunsAlike runs scripts that show every side of the sandbox
// and of the compiler as they are, and with coverage and the portability check,
// and expects the same, down to the lines of errors; of the portability check,
// or its objection.
func TestInstrumentedRunsAlike(t *testing.T) {
	var text []byte
	for _, file := range []string{"testdata/sandbox.txt", "testdata/compiler.txt"} {
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	plain, covered, checked, both := New(), New(), New(), New()
	covered.SetCoverage(NewCoverage())
	checked.SetPortable(Everywhere)
	both.SetPortable(Everywhere)
	both.SetCoverage(NewCoverage())
	compared := 0
	for _, line := range strings.Split(string(text), "\n") {
		source, ok := strings.CutPrefix(line, "lua ")
		if !ok {
			continue
		}
		compared++
		want := run(t, plain, source)
		if diff := cmp.Diff(want, run(t, covered, source)); diff != "" {
			t.Errorf("%s\nwith coverage (-want +got)\n%s", source, diff)
		}
		for _, engine := range []*Engine{checked, both} {
			got := run(t, engine, source)
			if failed, ok := got.(Error); ok && strings.HasPrefix(string(failed), "PORTABILITY ") {
				// What the script has not done for it must not count against what follows.
				for _, engine := range []*Engine{plain, covered, checked, both} {
					engine.Do("FLUSHALL")
				}
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nwith the portability check (-want +got)\n%s", source, diff)
			}
		}
	}
	if compared < 200 {
		t.Errorf("compared %d scripts; they are not where they used to be", compared)
	}
}
