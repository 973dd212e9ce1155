package luatest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

const (
	redisVersion    = "7.0.15"
	redisVersionNum = 7<<16 | 0<<8 | 15
	chunkName       = "user_script"
)

// script is a compiled script.
type script struct {
	digest string
	source string
	proto  *lua.FunctionProto
	points []point // what its code counts
}

func compile(digest, source string) (*script, Error) {
	if strings.HasPrefix(source, "#!") {
		return nil, "ERR luatest: scripts with a shebang are not modelled"
	}
	proto, err := compileChunk(source, chunkName, 0)
	if err != nil {
		return nil, Error(oneLine("ERR Error compiling script (new function): " + err.Error()))
	}
	return &script{digest: digest, source: source, proto: proto}, ""
}

// compileChunk compiles source as Lua 5.1 reads it, some levels deep in calls.
// Errors begin with the chunk's name, as it is shown, and the line.
func compileChunk(source, shown string, levels int, instrument ...func([]ast.Stmt) []ast.Stmt) (*lua.FunctionProto, error) {
	reassigned, err := checkGrammar(source, levels)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", shown, err)
	}
	chunk, err := parseChunk(source, shown)
	if err != nil {
		return nil, compileError(err, source, shown)
	}
	for _, put := range instrument {
		chunk = put(chunk)
	}
	asLua51(reflect.ValueOf(chunk))
	chunk, err = rewrite(chunk, reassigned, strings.Contains(source, "__len"))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", shown, err)
	}
	proto, err := lua.Compile(chunk, shown)
	if err != nil {
		return nil, compileError(err, source, shown)
	}
	if err := checkJumps(proto); err != nil {
		return nil, fmt.Errorf("%s:%w", shown, err)
	}
	linkMarked(proto)
	return proto, nil
}

func compileError(err error, source, shown string) error {
	var syntax *parse.Error
	if !errors.As(err, &syntax) {
		return fmt.Errorf("%s: %w", shown, err)
	}
	line, near := syntax.Pos.Line, syntax.Token
	if line == parse.EOF {
		line, near = 1+strings.Count(source, "\n"), "<eof>"
	}
	return fmt.Errorf("%s:%d: %s near '%s'", shown, line, syntax.Message, near)
}

// sandbox is the Lua state in which an engine's scripts run, one after another.
type sandbox struct {
	engine *Engine
	state  *lua.LState
	// globals is what lies behind _G. Like every library it is reached through
	// an empty table that no one can write to.
	globals *lua.LTable
	// behind has, for each read-only table, the table that holds its contents.
	behind map[*lua.LTable]*lua.LTable
	// globalMeta is what scripts see as the metatable of _G.
	globalMeta *lua.LTable
	// sources has the names of the chunks that scripts loaded, by how they are shown.
	sources map[string]string
	// onError completes an error with the place where it was raised.
	onError   *lua.LFunction
	identity  *lua.LFunction
	next      *lua.LFunction
	nextIndex *lua.LFunction
	null      *lua.LUserData // cjson.null
	random    drand48
	current   *scriptRun
	meter     meter
	methods   *lua.LTable // the metatable of strings
	counts    []count     // of the running script's points
	// environments are those of instrumented scripts, by whether they check portability.
	environments   map[bool]*lua.LTable
	checkedMethods *lua.LTable // of strings, where portability is checked
	breaches       []breach    // of portability, of the running script
}

// Sizes that let a script do what Redis's Lua allows: recursion some thousands
// deep, and unpack of nearly 8,000 values.
const (
	callStackSize   = 16 << 10
	registrySize    = 4 << 10
	registryMaxSize = 1 << 20
)

func newSandbox(e *Engine) *sandbox {
	l := lua.NewState(lua.Options{
		SkipOpenLibs:        true,
		CallStackSize:       callStackSize,
		MinimizeStackMemory: true,
		RegistrySize:        registrySize,
		RegistryMaxSize:     registryMaxSize,
		RegistryGrowStep:    registrySize,
	})
	s := &sandbox{
		engine: e, state: l, behind: map[*lua.LTable]*lua.LTable{}, sources: map[string]string{}, random: newDrand48(0),
		environments: map[bool]*lua.LTable{},
	}
	s.onError = l.NewFunction(s.locate)
	s.identity = l.NewFunction(func(*lua.LState) int { return 1 })
	s.next = l.NewFunction(s.luaNext)
	s.nextIndex = l.NewFunction(s.luaNextIndex)
	s.null = l.NewUserData()
	s.openGlobals()
	l.SetContext(&s.meter)
	return s
}

// openGlobals fills the table of globals, which is empty at first and stays
// so: a script sees what lies behind it.
func (s *sandbox) openGlobals() {
	l := s.state
	l.Push(l.NewFunction(lua.OpenCoroutine))
	l.Call(0, 0)
	s.meterCoroutines(l.G.Global.RawGetString("coroutine").(*lua.LTable))
	libraries := s.libraries()
	global := l.G.Global
	global.RawSetString("coroutine", lua.LNil)
	s.globals = l.NewTable()
	for library, values := range libraries {
		contents := s.globals
		if library != "" {
			contents = l.NewTable()
			s.globals.RawSetString(library, s.protect(l.NewTable(), contents))
		}
		for name, v := range values {
			contents.RawSetString(name, v)
		}
	}
	s.openStrings()
	s.globals.RawSetString("_G", global)
	s.globals.RawSetString("__redis__err__handler", s.onError)
	undeclared := l.NewTable()
	undeclared.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		name, ok := stringOf(l.Get(2))
		if !ok {
			fail(l, "Second argument to luaProtectedTableError must be a string or number")
		}
		fail(l, "Script attempted to access nonexistent global variable '%s'", cString(name))
		return 0
	}))
	s.globals.Metatable = undeclared
	s.globalMeta = s.protect(l.NewTable(), undeclared)
	s.protect(global, s.globals)
}

// openStrings gives strings their metatable.
func (s *sandbox) openStrings() {
	l := s.state
	methods := l.NewTable()
	// Methods are found in the contents directly: one step less for each
	// s:sub(). Scripts are shown a read-only table instead.
	library := s.globals.RawGetString("string").(*lua.LTable)
	methods.RawSetString("__index", s.behind[library])
	shown := l.NewTable()
	shown.RawSetString("__index", library)
	methods.RawSetString("__metatable", s.protect(l.NewTable(), shown))
	// Where there is a metamethod gopher-lua does not read strings as numbers itself.
	for event, f := range arithmetic {
		methods.RawSetString(event, l.NewFunction(func(l *lua.LState) int { return stringArithmetic(l, event, f) }))
	}
	l.SetMetatable(lua.LString(""), methods)
	s.methods = methods
}

// arithmetic is what the operators do to numbers, by their metamethods' names.
var arithmetic = map[string]func(x, y float64) float64{
	"__add": func(x, y float64) float64 { return x + y },
	"__sub": func(x, y float64) float64 { return x - y },
	"__mul": func(x, y float64) float64 { return x * y },
	"__div": func(x, y float64) float64 { return x / y },
	"__mod": func(x, y float64) float64 { return x - math.Floor(x/y)*y },
	"__pow": power,
	"__unm": func(x, _ float64) float64 { return -x },
}

// power is math.Pow with the sign that glibc gives a NaN on amd64.
func power(x, y float64) float64 {
	result := math.Pow(x, y)
	switch {
	case !math.IsNaN(result):
		return result
	case math.IsNaN(x) && math.Signbit(x) && math.Abs(math.Mod(y, 2)) == 1:
		return -x
	case math.IsNaN(x):
		return x
	case math.IsNaN(y):
		return y
	}
	return math.Copysign(nan, -1)
}

// stringArithmetic is an operator of which at least one operand is a string.
func stringArithmetic(l *lua.LState, event string, operator func(x, y float64) float64) int {
	a, b := l.Get(1), l.Get(2)
	if event == "__unm" {
		b = a // as Lua 5.1 passes it
	}
	x, okX := numberOf(a)
	y, okY := numberOf(b)
	if okX && okY {
		l.Push(lua.LNumber(operator(x, y)))
		return 1
	}
	// The first operand is a string, or has no metamethod.
	if f := l.GetMetaField(b, event); b.Type() != lua.LTString && f != lua.LNil {
		l.Push(f)
		l.Push(a)
		l.Push(b)
		l.Call(2, 1)
		return 1
	}
	wrong := b
	if !okX {
		wrong = a
	}
	fail(l, "attempt to perform arithmetic on a %s value", wrong.Type())
	return 0
}

const readOnlyText = "Attempt to modify a readonly table"

// protect makes proxy, an empty table, a read-only view of contents.
func (s *sandbox) protect(proxy, contents *lua.LTable) *lua.LTable {
	l := s.state
	meta := l.NewTable()
	meta.RawSetString("__index", contents)
	meta.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		fail(l, readOnlyText)
		return 0
	}))
	proxy.Metatable = meta
	s.behind[proxy] = contents
	return proxy
}

// run executes a script and converts what it returns or raises.
func (s *sandbox) run(sc *script, keys, argv []string, readOnly bool) any {
	l := s.state
	run := s.engine.gate.newRun(sc.digest, keys, readOnly)
	s.current = run
	clear(s.sources)
	s.globals.RawSetString("KEYS", stringTable(l, keys))
	s.globals.RawSetString("ARGV", stringTable(l, argv))
	l.Push(s.function(sc))
	s.meter.start(s.engine.maxInstructions)
	err := l.PCall(0, 1, s.onError)
	breach := s.finish(sc)
	s.current = nil
	if breach != "" {
		l.SetTop(0)
		return breach
	}
	if run.overBudget() {
		// Whatever the script made of the error.
		l.SetTop(0)
		return run.budgetError()
	}
	if err != nil {
		l.SetTop(0)
		return s.errorOf(err, sc.digest)
	}
	reply := toReply(l.Get(-1), replyStart)
	l.SetTop(0)
	return reply
}

func stringTable(l *lua.LState, items []string) *lua.LTable {
	t := l.CreateTable(len(items), 0)
	for i, item := range items {
		t.RawSetInt(i+1, lua.LString(item))
	}
	return t
}

// locate is the handler of a script's uncaught errors: it makes a table of an
// error that is not one, and adds the place of the Lua code that raised it.
func (s *sandbox) locate(l *lua.LState) int {
	raised, isTable := l.Get(1).(*lua.LTable)
	if !isTable {
		raised = l.NewTable()
		raised.RawSetString("err", lua.LString("ERR "+toString(l.Get(1))))
	}
	// Redis looks past one function that is not Lua's, not past two.
	frame, ok := frameAt(l, 1)
	if caller, more := frameAt(l, 2); ok && more && isGo(l, frame) {
		frame = caller
	}
	switch {
	case !ok:
	case isGo(l, frame):
		raised.RawSetString("source", lua.LString("=[C]"))
		raised.RawSetString("line", lua.LNumber(-1))
	default:
		l.GetInfo("Sl", frame, nil)
		source, loaded := s.sources[frame.Source]
		if !loaded {
			source = "@" + frame.Source
		}
		raised.RawSetString("source", lua.LString(source))
		raised.RawSetString("line", lua.LNumber(frame.CurrentLine))
	}
	l.Push(raised)
	return 1
}

// isGo reports whether a frame is that of a function written in Go.
func isGo(l *lua.LState, frame *lua.Debug) bool {
	f, err := l.GetInfo("f", frame, nil)
	return err == nil && f.(*lua.LFunction).IsG
}

func (s *sandbox) errorOf(err error, digest string) Error {
	var raised *lua.ApiError
	if !errors.As(err, &raised) {
		return Error(oneLine("ERR " + err.Error()))
	}
	t, ok := raised.Object.(*lua.LTable)
	if !ok {
		return Error(oneLine("ERR " + toString(raised.Object) + " script: " + digest + ", on @" + chunkName + ":1."))
	}
	text := t.RawGetString("err")
	if text == lua.LNil {
		return Error("ERR luatest: the script raised a table without an err field, of which Redis " + redisVersion + " dies")
	}
	where := ""
	if source := t.RawGetString("source"); source != lua.LNil {
		where = ", on " + toString(source) + ":" + toString(t.RawGetString("line"))
	}
	return Error(oneLine(cString(toString(text)) + " script: " + digest + where + "."))
}

// redisTable is the table redis of a script.
func (s *sandbox) redisTable() map[string]lua.LValue {
	l := s.state
	table := map[string]lua.LValue{
		"REDIS_VERSION":     lua.LString(redisVersion),
		"REDIS_VERSION_NUM": lua.LNumber(redisVersionNum),
		"LOG_DEBUG":         lua.LNumber(0),
		"LOG_VERBOSE":       lua.LNumber(1),
		"LOG_NOTICE":        lua.LNumber(2),
		"LOG_WARNING":       lua.LNumber(3),
		"REPL_NONE":         lua.LNumber(0),
		"REPL_AOF":          lua.LNumber(1),
		"REPL_SLAVE":        lua.LNumber(2),
		"REPL_REPLICA":      lua.LNumber(2),
		"REPL_ALL":          lua.LNumber(3),
	}
	for name, f := range map[string]lua.LGFunction{
		"call":  func(l *lua.LState) int { return s.call(l, true) },
		"pcall": func(l *lua.LState) int { return s.call(l, false) },
		"error_reply": func(l *lua.LState) int {
			text, ok := l.Get(1).(lua.LString)
			if l.GetTop() != 1 || !ok {
				l.Push(errorTable(l, "ERR wrong number or type of arguments"))
				return 1
			}
			t := l.CreateTable(0, 1)
			t.RawSetString("err", lua.LString(errorReplyText(string(text))))
			l.Push(t)
			return 1
		},
		"status_reply": func(l *lua.LState) int {
			text, ok := l.Get(1).(lua.LString)
			if l.GetTop() != 1 || !ok {
				l.Push(errorTable(l, "ERR wrong number or type of arguments"))
				return 1
			}
			t := l.CreateTable(0, 1)
			t.RawSetString("ok", text)
			l.Push(t)
			return 1
		},
		"sha1hex": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				return raise(l, "ERR wrong number of arguments")
			}
			text, _ := stringOf(l.Get(1))
			l.Push(lua.LString(digestOf(text)))
			return 1
		},
		"log": func(l *lua.LState) int {
			if l.GetTop() < 2 {
				return raise(l, "ERR redis.log() requires two arguments or more.")
			}
			level, ok := numberOf(l.Get(1))
			switch {
			case !ok:
				return raise(l, "ERR First argument must be a number (log level).")
			case level < 0 || level >= 4:
				return raise(l, "ERR Invalid debug level.")
			}
			return 0
		},
		"replicate_commands": func(l *lua.LState) int {
			l.Push(lua.LTrue)
			return 1
		},
		"set_repl": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				return raise(l, "ERR redis.set_repl() requires two arguments.")
			}
			if targets, _ := numberOf(l.Get(1)); int(targets)&^3 != 0 {
				return raise(l, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
			}
			return 0
		},
		"setresp": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				return raise(l, "ERR redis.setresp() requires one argument.")
			}
			switch version, _ := numberOf(l.Get(1)); version {
			case 2:
				return 0
			case 3:
				return raise(l, "ERR luatest: RESP3 is not modelled")
			}
			return raise(l, "ERR RESP version must be 2 or 3.")
		},
		"acl_check_cmd": func(l *lua.LState) int {
			args, invalid := commandArguments(l)
			if invalid != "" {
				return raise(l, string(invalid))
			}
			cmd, _ := lookup(args)
			if cmd == nil {
				if refused := notModelled(args); refused != "" {
					return raise(l, string(refused))
				}
				return raise(l, "ERR Invalid command passed to redis.acl_check_cmd()")
			}
			l.Push(lua.LBool(s.engine.gate.user.check(cmd, args) == allowed))
			return 1
		},
		"breakpoint": func(l *lua.LState) int {
			l.Push(lua.LFalse) // no debugger is attached
			return 1
		},
		"debug": func(*lua.LState) int { return 0 },
	} {
		table[name] = l.NewFunction(f)
	}
	return table
}

// call is redis.call, and redis.pcall when errors are not to be raised.
func (s *sandbox) call(l *lua.LState, raising bool) int {
	args, invalid := commandArguments(l)
	var reply any = invalid
	if invalid == "" {
		reply = s.engine.scriptCommand(s.current, args)
	}
	if failed, ok := reply.(Error); ok && (raising || s.current.overBudget()) {
		return raise(l, string(failed))
	}
	l.Push(toLua(l, reply))
	return 1
}

// raise raises an error as redis.call does: a table with the text in err.
func raise(l *lua.LState, text string) int {
	throw(l, errorTable(l, text))
	return 0
}
