package luatest

import (
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// missing are the functions of Redis's Lua that Lua 5.4 lacks.
var missing = map[string]string{
	"gcinfo":         "collectgarbage('count')",
	"loadstring":     "a function",
	"unpack":         "table.unpack or unpack",
	"math.atan2":     "math.atan",
	"math.cosh":      "math.exp",
	"math.frexp":     "string.format('%a')",
	"math.ldexp":     "x * 2 ^ n",
	"math.log10":     "math.log(x) / math.log(10)",
	"math.mod":       "math.fmod",
	"math.pow":       "x ^ y",
	"math.sinh":      "math.exp",
	"math.tanh":      "math.exp",
	"string.gfind":   "string.gmatch",
	"table.foreach":  "pairs",
	"table.foreachi": "ipairs",
	"table.getn":     "#",
	"table.maxn":     "#",
	"table.setn":     "nothing",
}

// differing are what all versions have and each has in its own way.
var differing = map[string]string{
	"_VERSION":          "it names the version",
	"collectgarbage":    "options and results differ",
	"load":              "Lua 5.1 takes a function, Lua 5.4 a string too",
	"coroutine.running": "Lua 5.1 returns nil in the main program, Lua 5.4 a thread",
	"math.random":       "each has numbers of its own",
	"math.randomseed":   "each has numbers of its own",
	"string.dump":       "each has a format of its own",
}

// signatures say how the arguments of functions are to be checked, one letter
// each and * for more of the last kind:
//
//	s  becomes text        n  a number          i  a whole number
//	p  a pattern           e  the same, which may not match nothing
//	r  a replacement       t  a table whose length is asked for
//	l  a list for ipairs  c  an argument of a command               .  anything
//
// A ! ends those where Lua 5.4 has a further parameter.
var signatures = map[string]string{
	"ipairs": "l", "select": "i", "tostring": ".", "unpack": "tii",
	"math.abs": "n", "math.acos": "n", "math.asin": "n", "math.atan": "n!", "math.ceil": "n", "math.cos": "n",
	"math.deg": "n", "math.exp": "n", "math.floor": "n", "math.fmod": "nn", "math.log": "n!", "math.max": "n*",
	"math.min": "n*", "math.modf": "n", "math.rad": "n", "math.sin": "n", "math.sqrt": "n", "math.tan": "n",
	"redis.call": "c*", "redis.pcall": "c*", "redis.sha1hex": "s",
	"string.byte": "sii", "string.char": "i*", "string.find": "spi", "string.gmatch": "se!", "string.gsub": "seri",
	"string.len": "s", "string.lower": "s", "string.match": "spi", "string.rep": "si!", "string.reverse": "s",
	"string.sub": "sii", "string.upper": "s",
	"table.concat": "tsii", "table.insert": "t", "table.remove": "ti", "table.sort": "t",
	"xpcall": "..!",
}

// checkedFurther are the functions with checks that no signature expresses.
func (s *sandbox) checkedFurther() map[string]func(*lua.LState) {
	return map[string]func(*lua.LState){
		"next":          s.checkEntries,
		"pairs":         s.checkEntries,
		"setmetatable":  s.checkMetatable,
		"tonumber":      s.checkToNumber,
		"tostring":      s.checkToString,
		"math.fmod":     s.checkFmod,
		"string.find":   s.checkStart,
		"string.format": s.checkFormat,
		"string.match":  s.checkStart,
		"table.concat":  s.checkConcat,
		"table.insert":  s.checkInsert,
		"table.sort":    s.checkSort,
	}
}

// openChecks returns the globals of a script whose portability is checked:
// those of the sandbox, with checks before the functions of its libraries.
func (s *sandbox) openChecks() *lua.LTable {
	l := s.state
	further := s.checkedFurther()
	guarded := func(prefix string, contents *lua.LTable) *lua.LTable {
		checked, meta := l.NewTable(), l.NewTable()
		contents.ForEach(func(key, value lua.LValue) {
			name := prefix + toString(key)
			f, ok := value.(*lua.LFunction)
			if ok && missing[name] == "" && differing[name] == "" && (signatures[name] != "" || further[name] != nil) {
				checked.RawSet(key, s.checkedFunction(f, name, further[name]))
			}
		})
		meta.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
			name := prefix + toString(l.Get(2))
			switch {
			case missing[name] != "":
				s.refuse(l, Lua54, "%s, which Lua 5.4 lacks; use %s", name, missing[name])
			case differing[name] != "":
				s.refuse(l, Lua54|GopherLua, "%s: %s", name, differing[name])
			}
			if value := contents.RawGet(l.Get(2)); value != lua.LNil || contents.Metatable == lua.LNil {
				l.Push(value)
				return 1
			}
			// In this very frame, so that an error is raised as far up as it would be.
			absent := contents.Metatable.(*lua.LTable).RawGetString("__index").(*lua.LFunction)
			return absent.GFunction(l)
		}))
		checked.Metatable = meta
		return checked
	}
	globals := guarded("", s.globals)
	// Those who walk over a table find all its contents behind it.
	open := func(checked, contents *lua.LTable) *lua.LTable {
		proxy := s.protect(l.NewTable(), checked)
		s.behind[proxy] = contents
		return proxy
	}
	for _, library := range []string{"coroutine", "math", "redis", "string", "table"} {
		checked := guarded(library+".", s.libraryOf(library))
		globals.RawSetString(library, open(checked, s.libraryOf(library)))
		if library == "string" {
			s.checkedMethods = checked
		}
	}
	env := open(globals, s.globals)
	globals.RawSetString("_G", env)
	for name, f := range s.checks() {
		env.RawSetString(name, l.NewFunction(f))
	}
	env.RawSetString(plainNext, s.globals.RawGetString("next"))
	unpack := s.globals.RawGetString("unpack").(*lua.LFunction)
	env.RawSetString(checkUnpack, s.checkedFunction(unpack, "unpack", nil))
	return env
}

// libraryOf returns the table with the functions of a library.
func (s *sandbox) libraryOf(name string) *lua.LTable {
	return s.contents(s.globals.RawGetString(name).(*lua.LTable))
}

// checkedFunction returns a function that checks its arguments and does what f does.
func (s *sandbox) checkedFunction(f *lua.LFunction, name string, further func(*lua.LState)) *lua.LFunction {
	checked := s.state.NewFunction(func(l *lua.LState) int {
		s.checkArguments(l, name)
		if further != nil {
			further(l)
		}
		return f.GFunction(l)
	})
	checked.Upvalues = f.Upvalues
	return checked
}

func (s *sandbox) checkArguments(l *lua.LState, name string) {
	kinds := signatures[name]
	for i := range l.GetTop() {
		kind := byte('.')
		switch {
		case i < len(kinds):
			kind = kinds[i]
		case strings.HasSuffix(kinds, "*"):
			kind = '*'
		}
		if kind == '*' {
			kind = kinds[len(kinds)-2]
		}
		v := l.Get(i + 1)
		switch kind {
		case 's':
			s.checkText(l, v)
		case 'n':
			s.checkNumber(l, v)
		case 'i':
			if name == "select" && v == lua.LString("#") {
				continue
			}
			s.checkWhole(l, v, name)
		case 'p', 'e':
			s.checkText(l, v)
			s.checkPattern(l, v, name, kind == 'e')
		case 'r':
			s.checkText(l, v)
			s.checkReplacement(l, v)
		case 't':
			if t, ok := v.(*lua.LTable); ok && !(name == "unpack" && l.Get(3) != lua.LNil) {
				s.checkHoles(l, t)
			}
		case 'l':
			if l.GetMetaField(v, "__index") != lua.LNil {
				s.refuse(l, Lua54, "ipairs of a table with an __index: Lua 5.4 follows it, Lua 5.1 does not")
			}
		case 'c':
			s.checkSent(l, v, name)
		case '!':
			s.refuse(l, Lua54, "%s with %d arguments: Lua 5.1 does not look at the last", name, i+1)
		}
	}
}

// checkPattern checks a pattern, and with repeated whether it matches nothing:
// behind a match Lua 5.1 finds another, empty one, which Lua 5.4 does not.
func (s *sandbox) checkPattern(l *lua.LState, v lua.LValue, function string, repeated bool) {
	text, ok := stringOf(v)
	if !ok || function == "string.find" && lua.LVAsBool(l.Get(4)) {
		return
	}
	if strings.Contains(text, "\x00") {
		s.refuse(l, Lua54|GopherLua, "a pattern with NUL: for Lua 5.1 it ends there; find with plain takes it")
	}
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		i++
		switch text[i] {
		case 'f':
			s.refuse(l, GopherLua, "%%f in a pattern: gopher-lua does not know it")
		case 'g':
			s.refuse(l, Lua54, "%%g in a pattern: Lua 5.1 does not know it")
		case 'z':
			s.refuse(l, Lua54, "%%z in a pattern: Lua 5.2 has given it up")
		}
	}
	if !repeated {
		return
	}
	if strings.HasPrefix(text, "^") {
		if function == "string.gmatch" {
			s.refuse(l, GopherLua, "^ in gmatch: it stands for itself, and in gopher-lua for the beginning")
		}
		return // matches once
	}
	l.Push(s.libraryOf("string").RawGetString("find"))
	l.Push(lua.LString(""))
	l.Push(v)
	if err := l.PCall(2, 1, s.identity); err != nil {
		return // malformed, as the function itself is about to say
	}
	found := l.Get(-1)
	l.Pop(1)
	if found != lua.LNil {
		s.refuse(l, Lua54|GopherLua, "the pattern %.40q in %s, which can match nothing: versions differ behind each match", text, function)
	}
}

func (s *sandbox) checkReplacement(l *lua.LState, v lua.LValue) {
	text, ok := v.(lua.LString)
	for i := 0; ok && i < len(text); i++ {
		if text[i] != '%' {
			continue
		}
		i++
		if i == len(text) || text[i] != '%' && (text[i] < '0' || text[i] > '9') {
			s.refuse(l, Lua54, "%% before neither a digit nor %% in a replacement: an error in Lua 5.4")
		}
	}
}

// checkStart checks where find and match are to begin.
func (s *sandbox) checkStart(l *lua.LState) {
	text, ok := stringOf(l.Get(1))
	start, isNumber := l.Get(3).(lua.LNumber)
	if ok && isNumber && int(start) > len(text)+1 {
		s.refuse(l, Lua54, "a search that begins behind the end: Lua 5.1 begins at the end, Lua 5.4 finds nothing")
	}
}

func (s *sandbox) checkEntries(l *lua.LState) {
	t, ok := l.Get(1).(*lua.LTable)
	if !ok {
		return
	}
	entries := 0
	s.contents(t).ForEach(func(_, _ lua.LValue) { entries++ })
	if entries > 1 {
		s.refuse(l, Everywhere, "a walk over %d entries: their order is not defined; use ipairs, or keep a list of the keys", entries)
	}
}

func (s *sandbox) checkMetatable(l *lua.LState) {
	meta, ok := l.Get(2).(*lua.LTable)
	if !ok {
		return
	}
	for _, name := range []string{"__len", "__pairs", "__ipairs", "__gc", "__close", "__name"} {
		if meta.RawGetString(name) != lua.LNil {
			s.refuse(l, Lua54|GopherLua, "%s in the metatable of a table, which not all versions have", name)
		}
	}
}

func (s *sandbox) checkToNumber(l *lua.LState) {
	text, ok := l.Get(1).(lua.LString)
	s.checkWhole(l, l.Get(2), "tonumber")
	if !ok {
		return
	}
	if base, ok := l.Get(2).(lua.LNumber); ok && base != 10 {
		if strings.HasPrefix(strings.TrimSpace(string(text)), "-") {
			s.refuse(l, Lua54, "tonumber(%.40q, %v): Lua 5.1 reads no sign", string(text), base)
		}
		return
	}
	x, ok := parseLuaNumber(string(text))
	switch {
	case !ok:
	case strings.Contains(string(text), "\x00"):
		s.refuse(l, Lua54|GopherLua, "tonumber(%.40q): for Lua 5.1 the text ends at the NUL", string(text))
	case math.IsInf(x, 0) || math.IsNaN(x):
		s.refuse(l, Lua54, "tonumber(%.40q): Lua 5.4 reads no such number", string(text))
	case math.Abs(x) >= exactLimit:
		s.refuse(l, Lua54, "tonumber(%.40q), a number from 2^53: Lua 5.1 rounds it", string(text))
	case x == math.Trunc(x) && strings.ContainsAny(string(text), ".eExXpP"):
		s.refuse(l, Lua54, "tonumber(%.40q), a whole number with more than digits: Lua 5.4 may make it a float", string(text))
	}
}

func (s *sandbox) checkToString(l *lua.LState) {
	v := l.Get(1)
	switch v.Type() {
	case lua.LTNumber:
		s.checkText(l, v)
	case lua.LTTable, lua.LTFunction, lua.LTThread, lua.LTUserData:
		if l.GetMetaField(v, "__tostring") == lua.LNil {
			s.refuse(l, Everywhere, "a %s as text: it is an address, new each time", v.Type())
		}
	}
}

func (s *sandbox) checkFmod(l *lua.LState) {
	if l.Get(2) == lua.LNumber(0) {
		s.refuse(l, Lua54, "math.fmod by 0: an error in Lua 5.4 only")
	}
}

func (s *sandbox) checkConcat(l *lua.LState) {
	if t, ok := l.Get(1).(*lua.LTable); ok {
		for i := 1; t.RawGetInt(i) != lua.LNil; i++ {
			s.checkText(l, t.RawGetInt(i))
		}
	}
}

func (s *sandbox) checkInsert(l *lua.LState) {
	t, ok := l.Get(1).(*lua.LTable)
	if !ok || l.GetTop() != 3 {
		return
	}
	s.checkWhole(l, l.Get(2), "table.insert")
	if at, ok := l.Get(2).(lua.LNumber); ok && (at < 1 || int(at) > t.Len()+1) {
		s.refuse(l, Lua54, "table.insert at %v of %d items: an error in Lua 5.4 only", at, t.Len())
	}
}

func (s *sandbox) checkSort(l *lua.LState) {
	t, ok := l.Get(1).(*lua.LTable)
	if ok && l.Get(2) == lua.LNil && t.RawGetInt(1).Type() == lua.LTString && t.Len() > 1 {
		s.refuse(l, GopherLua|Platforms, "table.sort of strings: their order follows the server's locale, and in gopher-lua the bytes")
	}
}

func (s *sandbox) checkFormat(l *lua.LState) {
	format, ok := stringOf(l.Get(1))
	for n := 2; ok; {
		_, after, found := strings.Cut(format, "%")
		if !found || n > l.GetTop() && !strings.HasPrefix(after, "%") {
			return
		}
		if strings.HasPrefix(after, "%") {
			format = after[1:]
			continue
		}
		spec := parseSpec(after)
		format = after[min(len(after), len(spec.text)+1):]
		s.checkConversion(l, spec.verb, l.Get(n))
		n++
	}
}

func (s *sandbox) checkConversion(l *lua.LState, verb byte, v lua.LValue) {
	text, isText := v.(lua.LString)
	switch verb {
	case 'c', 'd', 'i', 'o', 'u', 'x', 'X':
		s.checkWhole(l, v, "%"+string(verb))
		if verb == 'c' && v == lua.LNumber(0) {
			s.refuse(l, Lua54, "%%c of 0: Lua 5.1 writes nothing, Lua 5.4 a NUL")
		}
	case 'e', 'E', 'f', 'g', 'G':
		s.checkNumber(l, v)
		if x, ok := v.(lua.LNumber); ok && (math.IsInf(float64(x), 0) || math.IsNaN(float64(x))) {
			s.refuse(l, Platforms, "%%%c of %v: each platform writes it in its own way", verb, x)
		}
	case 's':
		s.checkText(l, v)
		switch {
		case isText && strings.Contains(string(text), "\x00"):
			s.refuse(l, Lua54|GopherLua, "%%s of a string with NUL: Lua 5.1 ends it there; use ..")
		case !isText && v.Type() != lua.LTNumber:
			s.refuse(l, Lua54, "%%s of a %s value: an error in Lua 5.1 only; use tostring", v.Type())
		}
	case 'q':
		control := func(c rune) bool { return c < ' ' && c != '\n' || c == 0x7F }
		switch {
		case !isText:
			s.refuse(l, Lua54, "%%q of a %s value: Lua 5.4 writes literals of other kinds too", v.Type())
		case strings.ContainsFunc(string(text), control):
			s.refuse(l, Lua54|GopherLua, "%%q of control characters: each version has escapes of its own")
		}
	}
}

// luaModulo is checkModulo. It compares what Lua 5.1, by division, and Lua 5.4
// make of the operands.
func (s *sandbox) luaModulo(l *lua.LState) int {
	s.checkNumber(l, l.Get(1))
	s.checkNumber(l, l.Get(2))
	left, leftOK := l.Get(1).(lua.LNumber)
	right, rightOK := l.Get(2).(lua.LNumber)
	if leftOK && rightOK {
		a, b := float64(left), float64(right)
		divided := a - math.Floor(a/b)*b
		remainder := math.Mod(a, b)
		if remainder*b < 0 {
			remainder += b
		}
		if divided != remainder || math.IsInf(a, 0) || math.IsInf(b, 0) {
			s.refuse(l, Lua54, "%v %% %v: Lua 5.1 has another result than Lua 5.4, or none", a, b)
		}
	}
	l.SetTop(2)
	return luaArithmetic(l, "__mod")
}
