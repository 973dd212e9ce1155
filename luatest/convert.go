package luatest

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Redis converts a reply on the stack of Lua, and needs some room on it for each
// value. That bounds how deep tables may lie in each other.
const (
	replyStart = 2 // values on the stack when the conversion starts
	replyRoom  = 4
)

// toReply converts what a script returned, with used values on the stack.
// Numbers lose their fraction, false and nil are null, and an array ends before
// its first nil.
func toReply(v lua.LValue, used int) any {
	if used+replyRoom > stackLimit {
		return Error("ERR reached lua stack limit")
	}
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return truncate(float64(v))
	case lua.LBool:
		if v {
			return int64(1)
		}
	case *lua.LTable:
		return tableReply(v, used)
	}
	return nil
}

// truncate converts as C does on amd64, where what does not fit becomes the
// least integer.
func truncate(x float64) int64 {
	if x >= -(1<<63) && x < 1<<63 {
		return int64(x)
	}
	return math.MinInt64
}

// toUint64 converts as C does on amd64, where negative numbers wrap around and
// what is too large becomes 0.
func toUint64(x float64) uint64 {
	switch {
	case x >= 1<<64:
		return 0
	case x >= 1<<63:
		return uint64(x)
	}
	return uint64(truncate(x))
}

func tableReply(t *lua.LTable, used int) any {
	if text, ok := t.RawGetString("err").(lua.LString); ok {
		return Error(oneLine(cString(string(text))))
	}
	if text, ok := t.RawGetString("ok").(lua.LString); ok {
		return Status(oneLine(cString(string(text))))
	}
	if x, ok := t.RawGetString("double").(lua.LNumber); ok {
		return formatFloat(float64(x), 17)
	}
	items := []any{}
	if m, ok := t.RawGetString("map").(*lua.LTable); ok {
		m.ForEach(func(k, v lua.LValue) { items = append(items, toReply(k, used+4), toReply(v, used+3)) })
		return items
	}
	if s, ok := t.RawGetString("set").(*lua.LTable); ok {
		s.ForEach(func(k, _ lua.LValue) { items = append(items, toReply(k, used+3)) })
		return items
	}
	if n, ok := t.RawGetString("big_number").(lua.LString); ok {
		return oneLine(string(n))
	}
	if v, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		text, isText := v.RawGetString("string").(lua.LString)
		_, hasFormat := v.RawGetString("format").(lua.LString)
		if isText && hasFormat {
			return string(text)
		}
	}
	for i := 1; ; i++ {
		item := t.RawGetInt(i)
		if item == lua.LNil {
			return items
		}
		items = append(items, toReply(item, used+1))
	}
}

// toLua converts a command's reply for the script that called it.
func toLua(l *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case int64:
		return lua.LNumber(r)
	case string:
		return lua.LString(r)
	case Status:
		t := l.CreateTable(0, 1)
		t.RawSetString("ok", lua.LString(r))
		return t
	case Error:
		return errorTable(l, string(r))
	case []any:
		if r == nil {
			return lua.LFalse
		}
		t := l.CreateTable(len(r), 0)
		for i, item := range r {
			t.RawSetInt(i+1, toLua(l, item))
		}
		return t
	}
	return lua.LFalse
}

// errorTable is an error as redis.pcall returns it and redis.call raises it.
func errorTable(l *lua.LState, text string) *lua.LTable {
	t := l.CreateTable(0, 2)
	t.RawSetString("err", lua.LString(text))
	t.RawSetString("ignore_error_stats_update", lua.LTrue)
	return t
}

// errorReplyText is what redis.error_reply makes of its argument: the first
// word is taken as the error's code, and a text of one word gets the code ERR.
func errorReplyText(text string) string {
	text, _, _ = strings.Cut(text, "\x00")
	text = strings.Trim("-"+strings.TrimPrefix(text, "-"), "\r\n")
	end := strings.IndexAny(text, " \r\n")
	if end < 0 {
		return "ERR " + text[1:]
	}
	return text[1:end] + " " + text[end+1:]
}

// commandArguments converts the arguments of redis.call. Only strings and
// numbers may be passed.
func commandArguments(l *lua.LState) ([]string, Error) {
	n := l.GetTop()
	if n == 0 {
		return nil, "ERR Please specify at least one argument for this redis lib call"
	}
	args := make([]string, n)
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = string(v)
		case lua.LNumber:
			args[i] = formatFloat(float64(v), 17)
		default:
			return nil, "ERR Lua redis lib command arguments must be strings or integers"
		}
	}
	return args, ""
}
