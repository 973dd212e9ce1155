package luatest

import (
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// baseLibrary is Lua's own functions among the globals.
func (s *sandbox) baseLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"assert":         luaAssert,
		"collectgarbage": luaCollectGarbage,
		"error":          luaError,
		"gcinfo":         luaGCInfo,
		"getmetatable":   s.luaGetMetatable,
		"ipairs":         s.luaIPairs,
		"load":           s.luaLoad,
		"loadstring":     s.luaLoadString,
		"next":           s.luaNext,
		"pairs":          s.luaPairs,
		"pcall":          s.luaPCall,
		"rawequal": func(l *lua.LState) int {
			l.Push(lua.LBool(l.RawEqual(anyArgument(l, 1), anyArgument(l, 2))))
			return 1
		},
		"rawget":       s.luaRawGet,
		"rawset":       s.luaRawSet,
		"select":       luaSelect,
		"setmetatable": s.luaSetMetatable,
		"tonumber":     luaToNumber,
		"tostring":     luaToString,
		"type": func(l *lua.LState) int {
			l.Push(lua.LString(anyArgument(l, 1).Type().String()))
			return 1
		},
		"unpack": luaUnpack,
		"xpcall": s.luaXPCall,
	}
}

// toString is tostring for a value without a __tostring.
func toString(v lua.LValue) string {
	if text, ok := stringOf(v); ok {
		return text
	}
	if v.Type() == lua.LTUserData {
		return "userdata: (nil)" // cjson.null, and there is no other
	}
	return v.String()
}

func luaToString(l *lua.LState) int {
	v := anyArgument(l, 1)
	if f := l.GetMetaField(v, "__tostring"); f != lua.LNil {
		l.Push(f)
		l.Push(v)
		call(l, 1, 1)
		return 1
	}
	l.Push(lua.LString(toString(v)))
	return 1
}

func luaToNumber(l *lua.LState) int {
	const decimal = 10
	base := int(int32(integerOption(l, 2, decimal)))
	var x float64
	var ok bool
	if base == decimal {
		x, ok = numberOf(anyArgument(l, 1))
	} else {
		text := stringArgument(l, 1)
		if base < 2 || base > 36 {
			badArgument(l, 2, "base out of range")
		}
		x, ok = parseUnsigned(text, base)
	}
	if ok {
		l.Push(lua.LNumber(x))
	} else {
		l.Push(lua.LNil)
	}
	return 1
}

// parseUnsigned reads all of s as C's strtoul does: white space, a sign, and
// digits that count modulo 2^64 when negated and no further than its end.
func parseUnsigned(s string, base int) (float64, bool) {
	digits := strings.ToLower(strings.Trim(cString(s), " \t\n\v\f\r"))
	digits, negative := strings.CutPrefix(digits, "-")
	if !negative {
		digits = strings.TrimPrefix(digits, "+")
	}
	if base == 16 {
		digits = strings.TrimPrefix(digits, "0x")
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil && err.(*strconv.NumError).Err != strconv.ErrRange {
		return 0, false
	}
	if negative && err == nil {
		n = -n
	}
	return float64(n), true
}

func luaAssert(l *lua.LState) int {
	if !lua.LVAsBool(anyArgument(l, 1)) {
		message := "assertion failed!"
		if l.Get(2) != lua.LNil {
			message = cString(stringArgument(l, 2))
		}
		fail(l, "%s", message)
	}
	return l.GetTop()
}

func luaError(l *lua.LState) int {
	level := integerOption(l, 2, 1)
	v := l.Get(1)
	if text, ok := stringOf(v); ok && level > 0 {
		v = lua.LString(position(l, level) + text)
	}
	throw(l, v)
	return 0
}

// luaPCall is Redis's own pcall, which turns a caught error table into the
// text in its err field.
func (s *sandbox) luaPCall(l *lua.LState) int {
	if l.GetTop() == 0 {
		l.Push(lua.LTrue) // Redis's calls the result that it has prepared
	}
	ok, raised := protected(l, l.GetTop()-1, s.identity)
	if ok {
		l.Insert(lua.LTrue, 1)
		return l.GetTop()
	}
	if t, ok := raised.(*lua.LTable); ok {
		if _, ok := stringOf(t.RawGetString("err")); ok {
			raised = t.RawGetString("err")
		}
	}
	l.Push(lua.LFalse)
	l.Push(raised)
	return 2
}

// luaXPCall knows nothing of err fields.
func (s *sandbox) luaXPCall(l *lua.LState) int {
	handler, ok := anyArgument(l, 2).(*lua.LFunction)
	if !ok {
		handler = l.NewFunction(func(l *lua.LState) int {
			l.Push(lua.LString("error in error handling"))
			return 1
		})
	}
	l.SetTop(1)
	ok, raised := protected(l, 0, handler)
	if ok {
		l.Insert(lua.LTrue, 1)
		return l.GetTop()
	}
	l.Push(lua.LFalse)
	l.Push(raised)
	return 2
}

// protected calls the function beneath the topmost arguments, and returns what
// it raised, after handler has seen it.
func protected(l *lua.LState, arguments int, handler *lua.LFunction) (bool, lua.LValue) {
	f := l.Get(-arguments - 1)
	if f.Type() != lua.LTFunction && l.GetMetaField(f, "__call") == lua.LNil {
		text := lua.LString("attempt to call a " + f.Type().String() + " value")
		f = l.NewFunction(func(*lua.LState) int {
			throw(l, text)
			return 0
		})
		l.SetTop(l.GetTop() - arguments - 1)
		l.Push(f)
		arguments = 0
	}
	if !mayCall(l) {
		return false, lua.LString("C stack overflow")
	}
	err := protectedCall(l, arguments, lua.MultRet, handler)
	if err == nil {
		return true, nil
	}
	if raised, ok := err.(*lua.ApiError); ok {
		return false, raised.Object
	}
	return false, lua.LString(err.Error())
}

func luaCollectGarbage(l *lua.LState) int {
	option := "collect"
	if l.Get(1) != lua.LNil {
		option = stringArgument(l, 1)
	}
	switch option {
	case "collect", "stop", "restart":
		l.Push(lua.LNumber(0))
	case "setpause", "setstepmul":
		l.Push(lua.LNumber(200)) // what both are until set
	case "step":
		l.Push(lua.LFalse)
	case "count":
		return luaGCInfo(l)
	default:
		badArgument(l, 1, "invalid option '"+option+"'")
	}
	return 1
}

// luaGCInfo reports a memory use that does not vary, for repeatable scripts.
func luaGCInfo(l *lua.LState) int {
	l.Push(lua.LNumber(1))
	return 1
}

// contents returns the table in which t's fields are.
func (s *sandbox) contents(t *lua.LTable) *lua.LTable {
	if contents := s.behind[t]; contents != nil {
		return contents
	}
	return t
}

func (s *sandbox) refuseReadOnly(l *lua.LState, t *lua.LTable) {
	if s.behind[t] != nil {
		throw(l, lua.LString(readOnlyText))
	}
}

func (s *sandbox) luaNext(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1))
	if last := l.Get(2); last != lua.LNil && t.RawGet(last) == lua.LNil && !wasKey(t, last) {
		throw(l, lua.LString("invalid key to 'next'"))
	}
	key, value := t.Next(l.Get(2))
	if key == lua.LNil {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(key)
	l.Push(value)
	return 2
}

func (s *sandbox) luaPairs(l *lua.LState) int {
	t := tableArgument(l, 1)
	l.Push(s.next)
	l.Push(t)
	l.Push(lua.LNil)
	return 3
}

func (s *sandbox) luaIPairs(l *lua.LState) int {
	t := tableArgument(l, 1)
	l.Push(s.nextIndex)
	l.Push(t)
	l.Push(lua.LNumber(0))
	return 3
}

func (s *sandbox) luaNextIndex(l *lua.LState) int {
	i := intArgument(l, 2) + 1
	item := s.contents(tableArgument(l, 1)).RawGet(lua.LNumber(i))
	if item == lua.LNil {
		return 0
	}
	l.Push(lua.LNumber(i))
	l.Push(item)
	return 2
}

func (s *sandbox) luaRawGet(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1))
	l.Push(t.RawGet(anyArgument(l, 2)))
	return 1
}

func (s *sandbox) luaRawSet(l *lua.LState) int {
	t := tableArgument(l, 1)
	key, value := anyArgument(l, 2), anyArgument(l, 3)
	s.refuseReadOnly(l, t)
	setField(l, t, key, value)
	l.SetTop(1)
	return 1
}

// luaGetMetatable does not show how tables are made read-only.
func (s *sandbox) luaGetMetatable(l *lua.LState) int {
	v := anyArgument(l, 1)
	t, _ := v.(*lua.LTable)
	switch {
	case t != nil && s.behind[t] == s.globals:
		l.Push(s.globalMeta)
	case t != nil && s.behind[t] != nil:
		l.Push(lua.LNil)
	default:
		l.Push(l.GetMetatable(v))
	}
	return 1
}

func (s *sandbox) luaSetMetatable(l *lua.LState) int {
	t := tableArgument(l, 1)
	meta := l.Get(2)
	if _, ok := meta.(*lua.LTable); !ok && (meta != lua.LNil || l.GetTop() < 2) {
		badArgument(l, 2, "nil or table expected")
	}
	s.refuseReadOnly(l, t)
	if l.GetMetaField(t, "__metatable") != lua.LNil {
		fail(l, "cannot change a protected metatable")
	}
	l.SetMetatable(t, meta)
	l.SetTop(1)
	return 1
}

func luaSelect(l *lua.LState) int {
	top := l.GetTop()
	if text, ok := l.Get(1).(lua.LString); ok && byteAt(string(text), 0) == '#' {
		l.Push(lua.LNumber(top - 1))
		return 1
	}
	n := intArgument(l, 1)
	if n < 0 {
		n += top
	}
	n = min(n, top)
	if n < 1 {
		badArgument(l, 1, "index out of range")
	}
	return top - n
}

func luaUnpack(l *lua.LState) int {
	t := tableArgument(l, 1)
	from := int(int32(integerOption(l, 2, 1)))
	to := int(int32(integerOption(l, 3, t.Len())))
	if from > to {
		return 0
	}
	if to-from >= stackLimit-l.GetTop() {
		fail(l, "too many results to unpack")
	}
	for i := from; i <= to; i++ {
		l.Push(t.RawGet(lua.LNumber(i)))
	}
	return to - from + 1
}

func (s *sandbox) luaLoadString(l *lua.LState) int {
	source := stringArgument(l, 1)
	name := source
	if l.Get(2) != lua.LNil {
		name = stringArgument(l, 2)
	}
	return s.load(l, source, name)
}

func (s *sandbox) luaLoad(l *lua.LState) int {
	name := "=(load)"
	if l.Get(2) != lua.LNil {
		name = stringArgument(l, 2)
	}
	f := functionArgument(l, 1)
	var source strings.Builder
	for {
		top := l.GetTop()
		l.Push(f)
		if ok, raised := protected(l, 0, s.identity); !ok {
			l.Push(lua.LNil)
			l.Push(raised)
			return 2
		}
		piece := l.Get(top + 1)
		l.SetTop(top)
		if piece == lua.LNil {
			break
		}
		text, ok := stringOf(piece)
		if !ok {
			l.Push(lua.LNil)
			l.Push(lua.LString("reader function must return a string"))
			return 2
		}
		if text == "" {
			break
		}
		source.WriteString(text)
	}
	return s.load(l, source.String(), name)
}

// loadLevels is how many calls deep a chunk is loaded: the script's own, and
// that of each library function, such as pcall, that calls Lua.
func loadLevels(l *lua.LState) int {
	levels := 0 // the first frame is the library function that loads, and counts for the script
	for thread := l; thread != nil; thread = thread.Parent {
		for depth := 0; ; depth++ {
			frame, ok := thread.GetStack(depth)
			if !ok {
				break
			}
			if isGo(thread, frame) {
				levels++
			}
		}
	}
	return levels
}

// load pushes a chunk as a function, or nil and why it is none.
func (s *sandbox) load(l *lua.LState, source, name string) int {
	shown := chunkID(name)
	proto, err := compileChunk(source, shown, loadLevels(l))
	if err != nil {
		l.Push(lua.LNil)
		l.Push(lua.LString(err.Error()))
		return 2
	}
	s.sources[shown] = name
	l.Push(l.NewFunctionFromProto(proto))
	return 1
}

// chunkID is the name of a chunk as errors show it.
func chunkID(name string) string {
	const longest = 60
	name = cString(name)
	if rest, ok := strings.CutPrefix(name, "="); ok {
		return head(rest, longest-1)
	}
	if rest, ok := strings.CutPrefix(name, "@"); ok {
		if kept := longest - len(" '...' ") - 1; len(rest) > kept {
			rest = "..." + rest[len(rest)-kept:]
		}
		return rest
	}
	line := name
	if end := strings.IndexAny(name, "\r\n"); end >= 0 {
		line = name[:end]
	}
	line = head(line, longest-len(` [string "..."] `)-1)
	if len(line) < len(name) {
		line += "..."
	}
	return `[string "` + line + `"]`
}
