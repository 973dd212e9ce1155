package luatest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An error in a statement that is rewritten is on the line of the part that fails.
func TestRewrittenLines(t *testing.T) {
	for source, line := range map[string]int{
		"local a, b = 1, {}\na,\nb.c.d = 1, 2":            3,
		"local a, b = 1\na, b =\nb.x, 2":                  3,
		"local a, b = 1\na, b = 2,\nb.x":                  3,
		"local a, b = 1\na = b and\n2 or b.x":             3,
		"local a = 1\n\na = 'x' % a":                      3,
		"for i = 1,\nnil + 1 do\nend":                     2,
		"local n\n\nfor i = 1, n do\nend":                 3,
		"\nfor i in 5,\n6 do end":                         2,
		"while false do end\nif nil then\nend\n(nil)()":   4,
		"for i = 1, 2 do\nbreak\nend\nlocal x = nil .. 1": 4,
		"local f = function()\nf()\nend\nf()":             2,
		"return {1,\na = tostring(nil +\n1)}":             2,
		"(5).x = 1":                                       1,
		"for i = 1, 9 do if i > 2 then local x = 1\nbreak end\nlocal g = function() return x end end\nerror()": 4,
		"return {" + strings.Repeat("1, ", 50) + "\nnil + 1, a = 2}":                                           2,
		"return {" + strings.Repeat("1, ", 50) + "\n(nil)()}":                                                  2,
		"if true then do local x = 1\nend end\nreturn true and (nil)()":                                        3,
	} {
		failed, _ := New().Do("EVAL", source, "0").(Error)
		if want := fmt.Sprintf(", on @user_script:%d.", line); !strings.HasSuffix(string(failed), want) {
			t.Errorf("%s\n%s\nshould end with %s", source, failed, want)
		}
	}
}

// Coverage counts the script's statements and branches, and none of those
// into which they are rewritten.
func TestRewrittenCoverage(t *testing.T) {
	const source = `local a, b, t = 1, 2, {}
a, b, t.x = b, a, a
if false then
  a = 9
end
for i = 1, ARGV[1] do
  if i > 1 then local x = i t.f = function() return x end break end
end
for k in next, t do a = k and b end
t = {1, 2, f = t.f()}
return {a, b, t.f % 2}`
	want := `         1     1  local a, b, t = 1, 2, {}
         1     2  a, b, t.x = b, a, a
         1     3  if false then
!        0     4    a = 9
               5  end
         1     6  for i = 1, ARGV[1] do
!                 never  for i: skipped
         2     7    if i > 1 then local x = i t.f = function() return x end break end
               8  end
         1     9  for k in next, t do a = k and b end
!                 never  for k: skipped
!                 never  k: false
         1    10  t = {1, 2, f = t.f()}
         1    11  return {a, b, t.f % 2}
`
	e := New()
	coverage := NewCoverage()
	e.SetCoverage(coverage)
	expect(t, e, []any{int64(1), int64(1), int64(0)}, "EVAL", source, "0", "5")
	if diff := cmp.Diff(want, coverage.Scripts()[0].Listing()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What a rewritten statement takes depends on what it does alone: with the
// statement twice, it is taken twice.
func TestRewrittenInstructions(t *testing.T) {
	const declared = "local a, b, t = 1, 2, {} "
	for _, statement := range []string{
		"a, b = b + 1, a ", "a = t.x and 1 ", "t = {1, a = tostring(1)} ", "for i = '1', 3 do end ", "a = 7 % b ",
		"while false do end ", "if nil then a = 1 end ", "for k in next, t do end ", "local f = function() end ",
	} {
		taken := func(times int) int64 {
			e := New()
			e.Do("EVAL", declared+strings.Repeat(statement, times), "0")
			return e.Instructions()
		}
		once := taken(1) - taken(0)
		if twice := taken(2) - taken(0); once <= 0 || twice != 2*once {
			t.Errorf("%s takes %d instructions, and twice %d", statement, once, twice)
		}
	}
}

// Whether an item or a key of the same number wins is left to no guess.
func TestConstructorsThatAreRefused(t *testing.T) {
	fifty := strings.Repeat("1, ", 50)
	for source, refused := range map[string]bool{
		"return {" + fifty + "[1] = 2}":              true,
		"return {[1] = 2, " + fifty + "a = 1}":       true,
		"return {" + fifty + "a = 1}":                false,
		"return {" + fifty[3:] + "[1] = 2}":          false,
		"return {" + fifty + "1, [1] = 2}":           false,
		"return {" + fifty + "tostring(1), [1] = 2}": false,
	} {
		failed, _ := New().Do("EVAL", "\n"+source, "0").(Error)
		if got := strings.Contains(string(failed), "user_script:2: luatest: a constructor"); got != refused {
			t.Errorf("%s\nrefused: %t, want %t: %s", source, got, refused, failed)
		}
	}
}

// A loop that is too long to jump back in is refused by Lua 5.1 too; a function
// that is as long and does not jump is not.
func TestLongFunctions(t *testing.T) {
	long, short := strings.Repeat("t = 1 ", longestJump), strings.Repeat("t = 1 ", longestJump/3)
	for source, refused := range map[string]bool{
		"local t " + long + "return t":                      false,
		"local t repeat " + short + "until t return t":      false,
		"local t for i = 1, 2 do " + short + "end return t": false,
		"local t repeat " + long + "until t return t":       true,
		"local t for i = 1, 2 do " + long + "end return t":  true,
	} {
		failed, _ := New().Do("EVAL", source, "0").(Error)
		if got := strings.Contains(string(failed), "user_script:1: luatest: jumps in a function"); got != refused {
			t.Errorf("%.30s\nrefused: %t, want %t: %s", source, got, refused, failed)
		}
	}
}
