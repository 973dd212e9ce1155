package luatest

import (
	"fmt"
	"slices"

	lua "github.com/yuin/gopher-lua"
)

// breach is one thing that a script does which differs on a target.
type breach struct {
	line       int
	kind, text string // the kind is the same for all values
}

// refuse notes a breach, once for each line and kind.
func (s *sandbox) refuse(l *lua.LState, on Target, format string, args ...any) {
	found := breach{currentLine(l), format, fmt.Sprintf(format, args...)}
	if s.engine.portable&on != 0 && !slices.ContainsFunc(s.breaches, func(b breach) bool {
		return b.line == found.line && b.kind == found.kind
	}) {
		s.breaches = append(s.breaches, found)
	}
}

// breachError is the reply of a script with these breaches, in the order in which
// they were met.
func breachError(breaches []breach, digest string) Error {
	text := "PORTABILITY " + breaches[0].text
	for _, b := range breaches[1:] {
		text += fmt.Sprintf("; line %d: %s", b.line, b.text)
	}
	return Error(oneLine(fmt.Sprintf("%s script: %s, on @%s:%d.", text, digest, chunkName, breaches[0].line)))
}

// currentLine returns the line of the script that is being run.
func currentLine(l *lua.LState) int {
	for level := 0; ; level++ {
		frame, ok := l.GetStack(level)
		if !ok {
			return 0
		}
		if _, err := l.GetInfo("Sl", frame, nil); err == nil && frame.What != "G" {
			return frame.CurrentLine
		}
	}
}
