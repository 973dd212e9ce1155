package luatest

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// library returns the functions, by library, that gopher-lua lacks or that do
// not do there what they do in Redis's Lua 5.1.
func (s *sandbox) library() map[string]map[string]lua.LValue {
	functions := map[string]map[string]lua.LGFunction{
		"": {
			"collectgarbage": luaCollectGarbage,
			"error":          luaError,
			"gcinfo":         luaGCInfo,
			"next":           s.luaNext,
			"pairs":          s.luaPairs,
			"pcall":          s.luaPCall,
			"rawget":         s.luaRawGet,
			"rawset":         s.luaRawSet,
			"setmetatable":   s.luaSetMetatable,
			"tonumber":       luaToNumber,
			"tostring":       luaToString,
			"unpack":         luaUnpack,
		},
		"math": {
			"random":     s.luaRandom,
			"randomseed": s.luaRandomSeed,
		},
		"string": {
			"format": luaFormat,
			"lower":  func(l *lua.LState) int { return mapBytes(l, "lower", 'A', 'Z') },
			"upper":  func(l *lua.LState) int { return mapBytes(l, "upper", 'a', 'z') },
		},
		"table": {
			"concat":   luaConcat,
			"foreach":  s.luaForEach,
			"foreachi": luaForEachI,
			"insert":   s.luaInsert,
			"remove":   s.luaRemove,
			"setn":     luaSetN,
		},
	}
	values := map[string]map[string]lua.LValue{}
	for library, fs := range functions {
		values[library] = map[string]lua.LValue{}
		for name, f := range fs {
			values[library][name] = s.state.NewFunction(f)
		}
	}
	values["math"]["huge"] = lua.LNumber(math.Inf(1))
	s.next = values[""]["next"].(*lua.LFunction)
	return values
}

func badArgument(l *lua.LState, n int, function, problem string) {
	l.RaiseError("bad argument #%d to '%s' (%s)", n, function, problem)
}

func badType(l *lua.LState, n int, function, want string) {
	got := "no value"
	if n <= l.GetTop() {
		got = l.Get(n).Type().String()
	}
	badArgument(l, n, function, want+" expected, got "+got)
}

func tableArgument(l *lua.LState, n int, function string) *lua.LTable {
	t, ok := l.Get(n).(*lua.LTable)
	if !ok {
		badType(l, n, function, "table")
	}
	return t
}

func numberArgument(l *lua.LState, n int, function string) float64 {
	x, ok := numberOf(l.Get(n))
	if !ok {
		badType(l, n, function, "number")
	}
	return x
}

func stringArgument(l *lua.LState, n int, function string) string {
	text, ok := stringOf(l.Get(n))
	if !ok {
		badType(l, n, function, "string")
	}
	return text
}

// integerOption returns argument n, or fallback when it is absent or nil.
func integerOption(l *lua.LState, n int, function string, fallback int) int {
	if l.Get(n) == lua.LNil {
		return fallback
	}
	return int(numberArgument(l, n, function))
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
	// Lua ends its numbers, as C its strings, at the first NUL.
	s, _, _ = strings.Cut(s, "\x00")
	return parseFloat(strings.TrimRight(s, " \t\n\v\f\r"))
}

// toString is tostring for a value without a __tostring.
func toString(v lua.LValue) string {
	if text, ok := stringOf(v); ok {
		return text
	}
	return v.String()
}

func luaToString(l *lua.LState) int {
	if l.GetTop() == 0 {
		badArgument(l, 1, "tostring", "value expected")
	}
	v := l.Get(1)
	if f := l.GetMetaField(v, "__tostring"); f != lua.LNil {
		l.Push(f)
		l.Push(v)
		l.Call(1, 1)
		return 1
	}
	l.Push(lua.LString(toString(v)))
	return 1
}

func luaToNumber(l *lua.LState) int {
	if l.GetTop() == 0 {
		badArgument(l, 1, "tonumber", "value expected")
	}
	base := integerOption(l, 2, "tonumber", 10)
	if base == 10 {
		if x, ok := numberOf(l.Get(1)); ok {
			l.Push(lua.LNumber(x))
		} else {
			l.Push(lua.LNil)
		}
		return 1
	}
	if base < 2 || base > 36 {
		badArgument(l, 2, "tonumber", "base out of range")
	}
	digits := strings.ToLower(strings.Trim(stringArgument(l, 1, "tonumber"), " \t\n\v\f\r"))
	if base == 16 {
		digits = strings.TrimPrefix(digits, "0x")
	}
	if n, err := strconv.ParseUint(digits, base, 64); err == nil {
		l.Push(lua.LNumber(n))
	} else {
		l.Push(lua.LNil)
	}
	return 1
}

// position is where the function at level is, in the form "chunk:line: ".
func position(l *lua.LState, level int) string {
	frame, ok := l.GetStack(level)
	if !ok {
		return ""
	}
	if _, err := l.GetInfo("Sl", frame, nil); err != nil || frame.What == "G" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", frame.Source, frame.CurrentLine)
}

func luaError(l *lua.LState) int {
	level := integerOption(l, 2, "error", 1)
	v := l.Get(1)
	if text, ok := stringOf(v); ok && level > 0 {
		v = lua.LString(position(l, level) + text)
	}
	throw(v)
	return 0
}

// throw raises v. LState.Error would first cut every closure off from the
// variables it shares with the functions that are running, and a script that
// catches the error would go on with copies.
func throw(v lua.LValue) {
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: v})
}

// luaPCall is Redis's own pcall, which turns a caught error table into the
// text in its err field.
func (s *sandbox) luaPCall(l *lua.LState) int {
	if l.GetTop() == 0 {
		badArgument(l, 1, "pcall", "value expected")
	}
	if f := l.Get(1); f.Type() != lua.LTFunction && l.GetMetaField(f, "__call") == lua.LNil {
		l.Push(lua.LFalse)
		l.Push(lua.LString("attempt to call a " + f.Type().String() + " value"))
		return 2
	}
	// With a handler, errors that the Lua machine raises leave closures alone too.
	err := l.PCall(l.GetTop()-1, lua.MultRet, s.identity)
	if err == nil {
		l.Insert(lua.LTrue, 1)
		return l.GetTop()
	}
	var raised lua.LValue = lua.LString(err.Error())
	if api, ok := err.(*lua.ApiError); ok {
		raised = api.Object
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

func luaCollectGarbage(l *lua.LState) int {
	option := "collect"
	if l.Get(1) != lua.LNil {
		option = stringArgument(l, 1, "collectgarbage")
	}
	switch option {
	case "collect", "stop", "restart", "setpause", "setstepmul":
		l.Push(lua.LNumber(0))
	case "step":
		l.Push(lua.LFalse)
	case "count":
		return luaGCInfo(l)
	default:
		badArgument(l, 1, "collectgarbage", "invalid option '"+option+"'")
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

func (s *sandbox) refuseReadOnly(t *lua.LTable) {
	if s.behind[t] != nil {
		throw(lua.LString(readOnlyText))
	}
}

func (s *sandbox) luaNext(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1, "next"))
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
	t := tableArgument(l, 1, "pairs")
	l.Push(s.next)
	l.Push(t)
	l.Push(lua.LNil)
	return 3
}

func (s *sandbox) luaRawGet(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1, "rawget"))
	if l.GetTop() < 2 {
		badArgument(l, 2, "rawget", "value expected")
	}
	l.Push(t.RawGet(l.Get(2)))
	return 1
}

func (s *sandbox) luaRawSet(l *lua.LState) int {
	t := tableArgument(l, 1, "rawset")
	for n := 2; n <= 3; n++ {
		if l.GetTop() < n {
			badArgument(l, n, "rawset", "value expected")
		}
	}
	s.refuseReadOnly(t)
	l.RawSet(t, l.Get(2), l.Get(3))
	l.SetTop(1)
	return 1
}

func (s *sandbox) luaSetMetatable(l *lua.LState) int {
	t := tableArgument(l, 1, "setmetatable")
	meta := l.Get(2)
	if _, ok := meta.(*lua.LTable); !ok && (meta != lua.LNil || l.GetTop() < 2) {
		badArgument(l, 2, "setmetatable", "nil or table expected")
	}
	s.refuseReadOnly(t)
	if l.GetMetaField(t, "__metatable") != lua.LNil {
		l.RaiseError("cannot change a protected metatable")
	}
	l.SetMetatable(t, meta)
	l.SetTop(1)
	return 1
}

// unpackLimit is the size of the stack of Redis's Lua.
const unpackLimit = 8000

func luaUnpack(l *lua.LState) int {
	t := tableArgument(l, 1, "unpack")
	from := integerOption(l, 2, "unpack", 1)
	to := integerOption(l, 3, "unpack", t.Len())
	if from > to {
		return 0
	}
	if to-from >= unpackLimit-l.GetTop() {
		l.RaiseError("too many results to unpack")
	}
	for i := from; i <= to; i++ {
		l.Push(t.RawGet(lua.LNumber(i)))
	}
	return to - from + 1
}

func mapBytes(l *lua.LState, function string, first, last byte) int {
	const caseBit = 'a' - 'A'
	text := []byte(stringArgument(l, 1, function))
	for i, c := range text {
		if first <= c && c <= last {
			text[i] = c ^ caseBit
		}
	}
	l.Push(lua.LString(text))
	return 1
}

func luaConcat(l *lua.LState) int {
	t := tableArgument(l, 1, "concat")
	separator := ""
	if l.Get(2) != lua.LNil {
		separator = stringArgument(l, 2, "concat")
	}
	from := integerOption(l, 3, "concat", 1)
	to := integerOption(l, 4, "concat", t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		item := t.RawGet(lua.LNumber(i))
		text, ok := stringOf(item)
		if !ok {
			l.RaiseError("invalid value (%s) at index %d in table for 'concat'", item.Type(), i)
		}
		b.WriteString(text)
		if i < to {
			b.WriteString(separator)
		}
	}
	l.Push(lua.LString(b.String()))
	return 1
}

func (s *sandbox) luaForEach(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1, "foreach"))
	if l.Get(2).Type() != lua.LTFunction {
		badType(l, 2, "foreach", "function")
	}
	for key, value := t.Next(lua.LNil); key != lua.LNil; key, value = t.Next(key) {
		if stop := callEach(l, key, value); stop {
			return 1
		}
	}
	return 0
}

func luaForEachI(l *lua.LState) int {
	t := tableArgument(l, 1, "foreachi")
	if l.Get(2).Type() != lua.LTFunction {
		badType(l, 2, "foreachi", "function")
	}
	for i, n := 1, t.Len(); i <= n; i++ {
		if stop := callEach(l, lua.LNumber(i), t.RawGetInt(i)); stop {
			return 1
		}
	}
	return 0
}

// callEach calls the function at argument 2 and leaves its result on the
// stack if that is not nil, which ends the iteration.
func callEach(l *lua.LState, key, value lua.LValue) bool {
	l.Push(l.Get(2))
	l.Push(key)
	l.Push(value)
	l.Call(2, 1)
	if l.Get(-1) != lua.LNil {
		return true
	}
	l.Pop(1)
	return false
}

func (s *sandbox) luaInsert(l *lua.LState) int {
	t := tableArgument(l, 1, "insert")
	s.refuseReadOnly(t)
	n := t.Len()
	switch l.GetTop() {
	case 2:
		t.RawSetInt(n+1, l.Get(2))
	case 3:
		at := int(numberArgument(l, 2, "insert"))
		for i := max(n+1, at); i > at; i-- {
			t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i-1)))
		}
		t.RawSet(lua.LNumber(at), l.Get(3))
	default:
		l.RaiseError("wrong number of arguments to 'insert'")
	}
	return 0
}

func (s *sandbox) luaRemove(l *lua.LState) int {
	t := tableArgument(l, 1, "remove")
	s.refuseReadOnly(t)
	n := t.Len()
	at := integerOption(l, 2, "remove", n)
	if at < 1 || at > n {
		return 0
	}
	removed := t.RawGetInt(at)
	for i := at; i < n; i++ {
		t.RawSetInt(i, t.RawGetInt(i+1))
	}
	t.RawSetInt(n, lua.LNil)
	l.Push(removed)
	return 1
}

func luaSetN(l *lua.LState) int {
	tableArgument(l, 1, "setn")
	l.RaiseError("'setn' is obsolete")
	return 0
}

// drand48 is the generator behind math.random: Redis has its own, so that a
// seed gives the same numbers everywhere.
type drand48 uint64

func newDrand48(seed int32) drand48 { return drand48(uint32(seed))<<16 | 0x330E }

func (d *drand48) next() int32 {
	*d = (*d*0x5DEECE66D + 0xB) & (1<<48 - 1)
	return int32(*d >> 17)
}

func (s *sandbox) luaRandom(l *lua.LState) int {
	r := float64(s.random.next()%math.MaxInt32) / math.MaxInt32
	low, high := 1, 0
	switch l.GetTop() {
	case 0:
		l.Push(lua.LNumber(r))
		return 1
	case 1:
		high = int(numberArgument(l, 1, "random"))
	case 2:
		low, high = int(numberArgument(l, 1, "random")), int(numberArgument(l, 2, "random"))
	default:
		l.RaiseError("wrong number of arguments")
	}
	if low > high {
		badArgument(l, l.GetTop(), "random", "interval is empty")
	}
	l.Push(lua.LNumber(math.Floor(r*float64(high-low+1)) + float64(low)))
	return 1
}

func (s *sandbox) luaRandomSeed(l *lua.LState) int {
	s.random = newDrand48(int32(numberArgument(l, 1, "randomseed")))
	return 0
}

// luaFormat is string.format, with the verbs, flags, widths and precisions of C.
func luaFormat(l *lua.LState) int {
	format := stringArgument(l, 1, "format")
	var b strings.Builder
	for n := 2; ; {
		before, after, found := strings.Cut(format, "%")
		b.WriteString(before)
		if !found {
			break
		}
		if strings.HasPrefix(after, "%") {
			b.WriteByte('%')
			format = after[1:]
			continue
		}
		spec := parseSpec(after)
		format = after[min(len(after), len(spec.text)+1):]
		if n > l.GetTop() {
			badArgument(l, n, "format", "no value")
		}
		if spec.verb >= '0' && spec.verb <= '9' {
			l.RaiseError("invalid format (width or precision too long)")
		}
		if spec.verb == 0 || strings.IndexByte("cdiuoxXeEfgGqs", spec.verb) < 0 {
			l.RaiseError("invalid option '%%%s' to 'format'", after[:min(len(after), len(spec.text)+1)])
		}
		b.WriteString(spec.format(l, n))
		n++
	}
	l.Push(lua.LString(b.String()))
	return 1
}

// spec is one conversion of a format.
type spec struct {
	text      string // between the percent sign and the verb
	flags     string
	width     int
	precision int // -1 when there is none
	verb      byte
}

func parseSpec(s string) spec {
	i := 0
	digits := func() int {
		start := i
		for i < len(s) && i < start+2 && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		n, _ := strconv.Atoi(s[start:i])
		return n
	}
	for i < len(s) && strings.IndexByte("-+ #0", s[i]) >= 0 {
		i++
	}
	sp := spec{flags: s[:i], precision: -1}
	sp.width = digits()
	if i < len(s) && s[i] == '.' {
		i++
		sp.precision = digits()
	}
	sp.text = s[:i]
	if i < len(s) {
		sp.verb = s[i]
	}
	return sp
}

func (sp spec) format(l *lua.LState, n int) string {
	switch sp.verb {
	case 'q':
		return quote(stringArgument(l, n, "format"))
	case 's':
		text := stringArgument(l, n, "format")
		if sp.precision >= 0 {
			text = head(text, sp.precision)
		}
		return sp.pad(text)
	}
	x := numberArgument(l, n, "format")
	switch sp.verb {
	case 'c':
		// A NUL ends the text, as it does in C.
		return sp.pad(strings.TrimSuffix(string([]byte{byte(int(x))}), "\x00"))
	case 'd', 'i':
		return fmt.Sprintf("%"+sp.text+"d", truncate(x))
	case 'u':
		return fmt.Sprintf("%"+sp.text+"d", uint64(truncate(x)))
	case 'o', 'x', 'X':
		return fmt.Sprintf("%"+sp.text+string(sp.verb), uint64(truncate(x)))
	}
	if text, special := formatSpecial(x); special {
		return sp.pad(text)
	}
	text := sp.text
	if sp.precision < 0 {
		text += ".6" // C's default; Go's is the shortest text that reads back
	}
	return fmt.Sprintf("%"+text+string(sp.verb), x)
}

// pad fills text up to the width, in bytes.
func (sp spec) pad(text string) string {
	fill := strings.Repeat(" ", max(0, sp.width-len(text)))
	if strings.Contains(sp.flags, "-") {
		return text + fill
	}
	return fill + text
}

var quoted = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", "\\\n", "\r", `\r`, "\x00", `\000`)

func quote(text string) string { return `"` + quoted.Replace(text) + `"` }
