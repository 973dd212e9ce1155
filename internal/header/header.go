// Package header reads the header of a script, which is its contract, and the
// commands that its text calls.
package header

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

var firstLine = regexp.MustCompile(`^-- (PURPOSE|KEYS|ARGV|RETURNS|ERRORS|COST|COMMANDS) +(.*)$`)

// Field is a field of a header; its further lines are joined to its text.
type Field struct{ Name, Text string }

// Fields returns the fields of a header in their order.
func Fields(script wildkey.Script) (fields []Field) {
	inField := false
	for _, line := range strings.Split(script.Source, "\n") {
		first := firstLine.FindStringSubmatch(line)
		switch {
		case first != nil:
			fields, inField = append(fields, Field{first[1], first[2]}), true
		case inField && strings.HasPrefix(line, "--  "):
			fields[len(fields)-1].Text += " " + strings.TrimLeft(line, "- ")
		default:
			inField = false
		}
	}
	return fields
}

// Text returns the text of a field.
func Text(script wildkey.Script, name string) string {
	for _, field := range Fields(script) {
		if field.Name == name {
			return field.Text
		}
	}
	return ""
}

var call = regexp.MustCompile(`redis\.p?call\(([^,)]*)`)

// CalledCommands returns what the text of a script calls, sorted.
func CalledCommands(t testing.TB, script wildkey.Script) []string {
	t.Helper()
	written := map[string]bool{}
	for _, call := range call.FindAllStringSubmatch(script.Source, -1) {
		name, err := strconv.Unquote(strings.ReplaceAll(call[1], "'", `"`))
		if err != nil {
			t.Errorf("%s.lua: redis.call(%s: the command is not written out", script.Name, call[1])
		}
		written[name] = true
	}
	return slices.Sorted(maps.Keys(written))
}

// A formula of a COST line, as in "1 + 2 * ceil(n / 1000)".
const formula = `((?:\w+|ceil\(\w+ / \d+\))(?: [+*] (?:ceil\(\w+ / \d+\)|\w+))*)`

var (
	callFormula = regexp.MustCompile(`calls: (?:at most )?` + formula)
	insteadFor  = regexp.MustCompile(`, for (\w+) ` + formula)
	moreFor     = regexp.MustCompile(formula + ` for ([a-z]+(?: and [a-z]+)?)`)
)

// CallBudget is the number of redis.calls that the COST line of a script names,
// worked out by the backend for variables that locals assigns, as in
// "local n, M = 3, 2". reply is the reply that the call asks for, where the COST
// line tells replies apart: "values" of delete.lua, a want of match.lua.
func CallBudget(t testing.TB, b *backend.Backend, script, locals, reply string) int {
	t.Helper()
	cost := Text(corpus.Script(script), "COST")
	found := callFormula.FindStringSubmatch(cost)
	if found == nil {
		t.Fatalf("the COST of %s.lua names no calls", script)
	}
	calls := found[1]
	for _, other := range insteadFor.FindAllStringSubmatch(cost, -1) {
		if other[1] == reply {
			calls = other[2]
		}
	}
	for _, more := range moreFor.FindAllStringSubmatch(cost, -1) {
		if slices.Contains(strings.Split(more[2], " and "), reply) {
			calls += " + " + more[1]
		}
	}
	return int(b.Do(t, "EVAL", "local ceil = math.ceil; "+locals+"; return "+calls, 0).(int64))
}
