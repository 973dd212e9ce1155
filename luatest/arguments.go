package luatest

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// What the functions of Lua's libraries do with their arguments, and the
// errors that they raise, in the words of Lua 5.1's own library.

// fail raises a text, with the place from which the library function was called.
func fail(l *lua.LState, format string, args ...any) {
	throw(l, lua.LString(position(l, 1)+fmt.Sprintf(format, args...)))
}

// position is where the function at level is, in the form "chunk:line: ". For
// functions that are not Lua's it is empty.
func position(l *lua.LState, level int) string {
	frame, ok := frameAt(l, level)
	if !ok || isGo(l, frame) {
		return ""
	}
	l.GetInfo("Sl", frame, nil)
	if frame.Source == coroutineBase {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", frame.Source, frame.CurrentLine)
}

// frameAt is LState.GetStack without the functions that stand for operators, but
// for the one that is running.
func frameAt(l *lua.LState, level int) (*lua.Debug, bool) {
	for actual := 0; ; actual++ {
		frame, ok := l.GetStack(actual)
		if !ok {
			return nil, false
		}
		if f, err := l.GetInfo("f", frame, nil); err == nil && actual > 0 && isOperator(f.(*lua.LFunction)) {
			continue
		}
		if level == 0 {
			return frame, true
		}
		level--
	}
}

// badArgument refuses argument n. As in Lua, the function has the name by
// which it was called, and the receiver of a method is not counted.
func badArgument(l *lua.LState, n int, problem string) {
	name, isMethod := callee(l)
	if isMethod {
		n--
		if n == 0 {
			fail(l, "calling '%s' on bad self (%s)", name, problem)
		}
	}
	fail(l, "bad argument #%d to '%s' (%s)", n, name, problem)
}

// callee returns the name by which the running function was called, and
// whether it was called as a method.
func callee(l *lua.LState) (name string, isMethod bool) {
	frame, _ := l.GetStack(0)
	if caller, ok := frameAt(l, 1); ok {
		if opcode, _ := pendingCall(l, caller); opcode == lua.OP_TFORLOOP {
			return "(for generator)", false
		}
	}
	if _, err := l.GetInfo("n", frame, nil); err != nil || frame.Name == "" || frame.Name == "(anonymous)" {
		return "?", false
	}
	name = frame.Name
	caller, ok := frameAt(l, 1)
	if !ok {
		return name, false
	}
	f, err := l.GetInfo("fl", caller, nil)
	if err != nil || f.(*lua.LFunction).IsG {
		return name, false
	}
	// The instruction itself is out of reach, but not the calls of that line.
	proto := f.(*lua.LFunction).Proto
	for _, call := range proto.DbgCalls {
		if call.Name == name && proto.DbgSourcePositions[call.Pc] == caller.CurrentLine && isMethodCall(proto, call.Pc) {
			return name, true
		}
	}
	return name, false
}

// isMethodCall reports whether the function that the instruction at pc calls
// was looked up as a method.
func isMethodCall(proto *lua.FunctionProto, pc int) bool {
	opcode := func(i int) int { return int(proto.Code[i] >> 26) }
	register := func(i int) int { return int(proto.Code[i] >> 18 & 0xff) }
	for i := pc - 1; i >= 0; i-- {
		if register(i) != register(pc) {
			continue
		}
		switch opcode(i) {
		case lua.OP_SELF:
			return true
		case lua.OP_MOVE, lua.OP_GETGLOBAL, lua.OP_GETUPVAL, lua.OP_GETTABLE, lua.OP_GETTABLEKS, lua.OP_CALL, lua.OP_CLOSURE:
			return false
		}
	}
	return false
}

func badType(l *lua.LState, n int, want string) {
	got := "no value"
	if n <= l.GetTop() {
		got = l.Get(n).Type().String()
	}
	badArgument(l, n, want+" expected, got "+got)
}

func anyArgument(l *lua.LState, n int) lua.LValue {
	if n > l.GetTop() {
		badArgument(l, n, "value expected")
	}
	return l.Get(n)
}

func tableArgument(l *lua.LState, n int) *lua.LTable {
	t, ok := l.Get(n).(*lua.LTable)
	if !ok {
		badType(l, n, "table")
	}
	return t
}

func functionArgument(l *lua.LState, n int) *lua.LFunction {
	f, ok := l.Get(n).(*lua.LFunction)
	if !ok {
		badType(l, n, "function")
	}
	return f
}

func numberArgument(l *lua.LState, n int) float64 {
	x, ok := numberOf(l.Get(n))
	if !ok {
		badType(l, n, "number")
	}
	return x
}

func integerArgument(l *lua.LState, n int) int { return int(truncate(numberArgument(l, n))) }

// intArgument is a number as a C int of 32 bits.
func intArgument(l *lua.LState, n int) int { return int(int32(integerArgument(l, n))) }

// integerOption returns argument n, or fallback when it is absent or nil.
func integerOption(l *lua.LState, n, fallback int) int {
	if l.Get(n) == lua.LNil {
		return fallback
	}
	return integerArgument(l, n)
}

func stringArgument(l *lua.LState, n int) string {
	text, ok := stringOf(l.Get(n))
	if !ok {
		badType(l, n, "string")
	}
	return text
}

// stringOf converts a string or a number, as Lua does where a string is wanted.
func stringOf(v lua.LValue) (string, bool) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), true
	case lua.LNumber:
		return formatFloat(float64(v), 14), true
	}
	return "", false
}

// numberOf converts a number or a string, as Lua does where a number is wanted.
func numberOf(v lua.LValue) (float64, bool) {
	switch v := v.(type) {
	case lua.LNumber:
		return float64(v), true
	case lua.LString:
		return parseLuaNumber(string(v))
	}
	return 0, false
}

func parseLuaNumber(s string) (float64, bool) {
	return parseFloat(strings.TrimRight(cString(s), " \t\n\v\f\r"))
}

// cString is s as C sees it, which ends at the first NUL.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

// stackLimit is how many values one function may have on the stack of Lua 5.1.
const stackLimit = 8000

// checkStack refuses more values than a function may have on the stack.
func checkStack(l *lua.LState, values int, problem string) {
	if values > stackLimit {
		fail(l, "stack overflow (%s)", problem)
	}
}
