package luatest

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func stringLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"byte":   stringByte,
		"char":   stringChar,
		"dump":   stringDump,
		"find":   func(l *lua.LState) int { return findOrMatch(l, true) },
		"format": luaFormat,
		"gfind":  stringGMatch, // the name it had in Lua 5.0
		"gmatch": stringGMatch,
		"gsub":   stringGSub,
		"len": func(l *lua.LState) int {
			l.Push(lua.LNumber(len(stringArgument(l, 1))))
			return 1
		},
		"lower":   func(l *lua.LState) int { return mapBytes(l, 'A', 'Z') },
		"match":   func(l *lua.LState) int { return findOrMatch(l, false) },
		"rep":     stringRep,
		"reverse": stringReverse,
		"sub":     stringSub,
		"upper":   func(l *lua.LState) int { return mapBytes(l, 'a', 'z') },
	}
}

// position1 makes of an index into n bytes, counted from the end when it is
// negative, one counted from the start: 0 lies before the first byte.
func position1(i, n int) int {
	if i < 0 {
		i += n + 1
	}
	return max(i, 0)
}

func stringSub(l *lua.LState) int {
	text := stringArgument(l, 1)
	from := max(position1(integerArgument(l, 2), len(text)), 1)
	to := min(position1(integerOption(l, 3, -1), len(text)), len(text))
	if from > to {
		l.Push(lua.LString(""))
	} else {
		l.Push(lua.LString(text[from-1 : to]))
	}
	return 1
}

func stringByte(l *lua.LState) int {
	text := stringArgument(l, 1)
	from := position1(integerOption(l, 2, 1), len(text))
	to := min(position1(integerOption(l, 3, from), len(text)), len(text))
	from = max(from, 1)
	if from > to {
		return 0
	}
	checkStack(l, l.GetTop()+to-from+1, "string slice too long")
	for _, c := range []byte(text[from-1 : to]) {
		l.Push(lua.LNumber(c))
	}
	return to - from + 1
}

func stringChar(l *lua.LState) int {
	text := make([]byte, l.GetTop())
	for i := range text {
		c := intArgument(l, i+1)
		if c < 0 || c > 255 {
			badArgument(l, i+1, "invalid value")
		}
		text[i] = byte(c)
	}
	l.Push(lua.LString(text))
	return 1
}

// stringDump returns the head of a binary chunk: what follows it is for no
// one, as nothing in Redis loads one.
func stringDump(l *lua.LState) int {
	if functionArgument(l, 1).IsG {
		fail(l, "unable to dump given function")
	}
	l.Push(lua.LString("\x1bLuaQ"))
	return 1
}

func stringRep(l *lua.LState) int {
	text, n := stringArgument(l, 1), intArgument(l, 2)
	l.Push(lua.LString(strings.Repeat(text, max(n, 0))))
	return 1
}

func stringReverse(l *lua.LState) int {
	text := []byte(stringArgument(l, 1))
	slices.Reverse(text)
	l.Push(lua.LString(text))
	return 1
}

// mapBytes changes the case of the letters from first to last.
func mapBytes(l *lua.LState, first, last byte) int {
	const caseBit = 'a' - 'A'
	text := []byte(stringArgument(l, 1))
	for i, c := range text {
		if first <= c && c <= last {
			text[i] = c ^ caseBit
		}
	}
	l.Push(lua.LString(text))
	return 1
}

func failing(l *lua.LState) func(string) {
	return func(problem string) { fail(l, "%s", problem) }
}

// findOrMatch is string.find, or string.match.
func findOrMatch(l *lua.LState, find bool) int {
	text, pattern := stringArgument(l, 1), stringArgument(l, 2)
	start := min(max(position1(integerOption(l, 3, 1), len(text))-1, 0), len(text))
	if find && (lua.LVAsBool(l.Get(4)) || !strings.ContainsAny(cString(pattern), "^$*+?.([%-")) {
		i := strings.Index(text[start:], pattern)
		if i < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(start + i + 1))
		l.Push(lua.LNumber(start + i + len(pattern)))
		return 2
	}
	m := newMatcher(text, pattern, failing(l))
	first, anchored := m.anchor()
	for ; start <= len(text); start++ {
		if end := m.matchAt(start, first); end >= 0 {
			if !find {
				return pushCaptures(l, m, start, end)
			}
			l.Push(lua.LNumber(start + 1))
			l.Push(lua.LNumber(end))
			if m.level == 0 {
				return 2
			}
			return 2 + pushCaptures(l, m, start, end)
		}
		if anchored {
			break
		}
	}
	l.Push(lua.LNil)
	return 1
}

// captureValue is capture i, or the whole match from start to end when the
// pattern has no captures.
func captureValue(m *matcher, i, start, end int) lua.LValue {
	if i >= m.level {
		if i > 0 {
			m.fail("invalid capture index")
		}
		return lua.LString(m.subject[start:end])
	}
	c := m.captures[i]
	switch c.length {
	case captureOpen:
		m.fail("unfinished capture")
	case capturePosition:
		return lua.LNumber(c.start + 1)
	}
	return lua.LString(m.subject[c.start : c.start+c.length])
}

func pushCaptures(l *lua.LState, m *matcher, start, end int) int {
	n := max(m.level, 1)
	for i := range n {
		l.Push(captureValue(m, i, start, end))
	}
	return n
}

func stringGMatch(l *lua.LState) int {
	text, pattern := stringArgument(l, 1), stringArgument(l, 2)
	start := 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		m := newMatcher(text, pattern, failing(l))
		for ; start <= len(text); start++ {
			end := m.matchAt(start, 0)
			if end < 0 {
				continue
			}
			from := start
			start = end
			if end == from {
				start++ // an empty match moves on all the same
			}
			return pushCaptures(l, m, from, end)
		}
		return 0
	}))
	return 1
}

func stringGSub(l *lua.LState) int {
	text, pattern := stringArgument(l, 1), stringArgument(l, 2)
	limit := int(int32(integerOption(l, 4, len(text)+1)))
	replacement := l.Get(3)
	switch replacement.(type) {
	case lua.LString, lua.LNumber, *lua.LFunction, *lua.LTable:
	default:
		badArgument(l, 3, "string/function/table expected")
	}
	m := newMatcher(text, pattern, failing(l))
	first, anchored := m.anchor()
	var out []byte
	start, count := 0, 0
	for count < limit {
		end := m.matchAt(start, first)
		if end >= 0 {
			count++
			out = appendReplacement(l, out, m, replacement, start, end)
		}
		switch {
		case end > start:
			start = end
		case start < len(text):
			out = append(out, text[start])
			start++
		default:
			limit = count
		}
		if anchored {
			break
		}
	}
	l.Push(lua.LString(append(out, text[start:]...)))
	l.Push(lua.LNumber(count))
	return 2
}

// appendReplacement appends what gsub puts in the place of a match.
func appendReplacement(l *lua.LState, out []byte, m *matcher, replacement lua.LValue, start, end int) []byte {
	var v lua.LValue
	switch r := replacement.(type) {
	case *lua.LFunction:
		l.Push(r)
		call(l, pushCaptures(l, m, start, end), 1)
		v = l.Get(-1)
		l.Pop(1)
	case *lua.LTable:
		v = l.GetTable(r, captureValue(m, 0, start, end))
	default:
		text, _ := stringOf(r)
		return appendTemplate(out, m, text, start, end)
	}
	if !lua.LVAsBool(v) {
		return append(out, m.subject[start:end]...)
	}
	text, ok := stringOf(v)
	if !ok {
		fail(l, "invalid replacement value (a %s)", v.Type())
	}
	return append(out, text...)
}

// appendTemplate appends a replacement text, with %0 to %9 in it filled in.
func appendTemplate(out []byte, m *matcher, template string, start, end int) []byte {
	for i := 0; i < len(template); i++ {
		if template[i] != '%' {
			out = append(out, template[i])
			continue
		}
		i++
		switch c := byteAt(template, i); {
		case c == '0':
			out = append(out, m.subject[start:end]...)
		case isDigit(c):
			text, _ := stringOf(captureValue(m, int(c-'1'), start, end))
			out = append(out, text...)
		default:
			out = append(out, c) // at the end of the template this is a NUL, in Lua too
		}
	}
	return out
}
