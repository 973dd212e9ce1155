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

// CallBudget is the number of redis.calls that the COST line of a script names,
// worked out by the backend for variables that locals assigns, as in
// "local n, M = 3, 2". The line names one formula, "calls: at most 2 * n", or one
// for each reply that a call may ask for, "calls: n for count, n + M for keys and
// values".
func CallBudget(t testing.TB, b *backend.Backend, script, locals, reply string) int {
	t.Helper()
	cost := Text(corpus.Script(script), "COST")
	_, calls, _ := strings.Cut(cost, "calls: ")
	calls, _, _ = strings.Cut(calls, ";")
	for _, formula := range strings.Split(calls, ", ") {
		formula = strings.TrimPrefix(strings.TrimPrefix(formula, "and "), "at most ")
		formula, replies, some := strings.Cut(formula, " for ")
		if !some || slices.Contains(strings.Split(replies, " and "), reply) {
			return int(b.Do(t, "EVAL", "local ceil = math.ceil; "+locals+"; return "+formula, 0).(int64))
		}
	}
	t.Fatalf("%s.lua, COST: %s: it names no calls for %s", script, cost, reply)
	return 0
}
