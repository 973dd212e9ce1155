package luatest

import (
	"errors"
	"fmt"
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
	chunk, invalid := parseScript(source)
	if invalid != "" {
		return nil, invalid
	}
	proto, err := lua.Compile(chunk, chunkName)
	if err != nil {
		return nil, compileError(err, source)
	}
	return &script{digest: digest, source: source, proto: proto}, ""
}

func parseScript(source string) ([]ast.Stmt, Error) {
	chunk, err := parse.Parse(strings.NewReader(source), chunkName)
	if err != nil {
		return nil, compileError(err, source)
	}
	if line := gotoLine(reflect.ValueOf(chunk)); line > 0 {
		return nil, Error(fmt.Sprintf("ERR Error compiling script (new function): %s:%d: Lua 5.1 has no goto and no labels", chunkName, line))
	}
	return chunk, ""
}

func compileError(err error, source string) Error {
	text := fmt.Sprintf("%s: %v", chunkName, err)
	var syntax *parse.Error
	if errors.As(err, &syntax) {
		line, near := syntax.Pos.Line, syntax.Token
		if line == parse.EOF {
			line, near = 1+strings.Count(source, "\n"), "<eof>"
		}
		text = fmt.Sprintf("%s:%d: %s near '%s'", chunkName, line, syntax.Message, near)
	}
	return Error(oneLine("ERR Error compiling script (new function): " + text))
}

// gotoLine returns the line of the first goto or label in a syntax tree, or 0.
// Both are gopher-lua's extensions.
func gotoLine(v reflect.Value) int {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return 0
		}
		switch stmt := v.Interface().(type) {
		case *ast.GotoStmt:
			return stmt.Line()
		case *ast.LabelStmt:
			return stmt.Line()
		}
		return gotoLine(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if line := gotoLine(v.Index(i)); line > 0 {
				return line
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if line := gotoLine(v.Field(i)); line > 0 {
				return line
			}
		}
	}
	return 0
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
	// onError completes an error with the place where it was raised.
	onError  *lua.LFunction
	identity *lua.LFunction
	methods  *lua.LTable // the metatable of strings
	next     *lua.LFunction
	random   drand48
	current  *scriptRun
	meter    meter
	counts   []count // of the running script's points
	// environments are those of instrumented scripts, by whether they check portability.
	environments   map[bool]*lua.LTable
	checkedMethods *lua.LTable // of strings, where portability is checked
	breach         Error       // of portability, the first of the running script
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
	s := &sandbox{engine: e, state: l, behind: map[*lua.LTable]*lua.LTable{}, random: newDrand48(0), environments: map[bool]*lua.LTable{}}
	s.onError = l.NewFunction(s.locate)
	s.identity = l.NewFunction(func(*lua.LState) int { return 1 })
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath, lua.OpenCoroutine} {
		l.Push(l.NewFunction(open))
		l.Call(0, 0)
	}
	s.openGlobals()
	l.SetContext(&s.meter)
	return s
}

// Redis's globals, and those functions of its libraries that gopher-lua has.
// library replaces some and adds those that gopher-lua lacks.
var (
	baseNames = []string{
		"_VERSION", "assert", "getmetatable", "ipairs", "load", "loadstring",
		"rawequal", "select", "type", "xpcall",
	}
	libraryNames = map[string][]string{
		"coroutine": {"create", "resume", "running", "status", "wrap", "yield"},
		"math": {
			"abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor", "fmod", "frexp",
			"ldexp", "log", "log10", "max", "min", "mod", "modf", "pi", "pow", "rad", "sin", "sinh", "sqrt", "tan", "tanh",
		},
		"string": {"byte", "char", "dump", "find", "gfind", "gmatch", "gsub", "len", "match", "rep", "reverse", "sub"},
		"table":  {"getn", "maxn", "sort"},
	}
)

// openGlobals moves what Redis has out of the table of globals, and empties it.
func (s *sandbox) openGlobals() {
	l := s.state
	global := l.G.Global
	s.globals = l.NewTable()
	for _, name := range baseNames {
		s.globals.RawSetString(name, global.RawGetString(name))
	}
	added := s.library()
	for name, f := range added[""] {
		s.globals.RawSetString(name, f)
	}
	for library, names := range libraryNames {
		contents := l.NewTable()
		from := global.RawGetString(library).(*lua.LTable)
		for _, name := range names {
			contents.RawSetString(name, from.RawGetString(name))
		}
		for name, f := range added[library] {
			contents.RawSetString(name, f)
		}
		if library == "coroutine" {
			s.meterCoroutines(contents)
		}
		s.globals.RawSetString(library, s.protect(l.NewTable(), contents))
	}
	redis := l.NewTable()
	for name, f := range s.redisTable() {
		redis.RawSetString(name, f)
	}
	s.globals.RawSetString("redis", s.protect(l.NewTable(), redis))

	// The methods of strings are found in the contents directly: one step less
	// for each s:sub(). Scripts are shown a read-only table instead.
	library := s.globals.RawGetString("string").(*lua.LTable)
	methods, shown := l.NewTable(), l.NewTable()
	shown.RawSetString("__index", library)
	methods.RawSetString("__index", s.behind[library])
	methods.RawSetString("__metatable", s.protect(l.NewTable(), shown))
	l.SetMetatable(lua.LString(""), methods)
	s.methods = methods

	var names []string
	global.ForEach(func(name, _ lua.LValue) { names = append(names, name.String()) })
	for _, name := range names {
		global.RawSetString(name, lua.LNil)
	}
	s.globals.RawSetString("_G", global)
	undeclared := l.NewTable()
	undeclared.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.Get(2).String())
		return 0
	}))
	s.globals.Metatable = undeclared
	s.protect(global, s.globals)
}

const readOnlyText = "Attempt to modify a readonly table"

// protect makes proxy, an empty table, a read-only view of contents.
func (s *sandbox) protect(proxy, contents *lua.LTable) *lua.LTable {
	l := s.state
	meta, shown := l.NewTable(), l.NewTable()
	refuse := l.NewFunction(func(l *lua.LState) int {
		l.RaiseError(readOnlyText)
		return 0
	})
	meta.RawSetString("__index", contents)
	meta.RawSetString("__newindex", refuse)
	proxy.Metatable = meta
	s.behind[proxy] = contents
	// getmetatable shows an equally unwritable table in place of meta.
	shownMeta := l.NewTable()
	shownMeta.RawSetString("__newindex", refuse)
	shown.Metatable = shownMeta
	s.behind[shown] = l.NewTable()
	meta.RawSetString("__metatable", shown)
	return proxy
}

// run executes a script and converts what it returns or raises.
func (s *sandbox) run(sc *script, keys, argv []string, readOnly bool) any {
	l := s.state
	run := s.engine.gate.newRun(sc.digest, keys, readOnly)
	s.current = run
	s.globals.RawSetString("KEYS", stringTable(l, keys))
	s.globals.RawSetString("ARGV", stringTable(l, argv))
	l.Push(s.function(sc))
	s.meter.start(s.engine.maxInstructions)
	err := l.PCall(0, 1, s.onError)
	breach := s.finish(sc)
	s.current = nil
	if run.overBudget() {
		// Whatever the script made of the error.
		l.SetTop(0)
		return run.budgetError()
	}
	if breach != "" {
		l.SetTop(0)
		return breach
	}
	if err != nil {
		l.SetTop(0)
		return s.errorOf(err, sc.digest)
	}
	reply := toReply(l.Get(-1), 0)
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
	for level := 1; ; level++ {
		frame, ok := l.GetStack(level)
		if !ok {
			break
		}
		if _, err := l.GetInfo("Sl", frame, nil); err == nil && frame.What != "G" {
			raised.RawSetString("source", lua.LString("@"+frame.Source))
			raised.RawSetString("line", lua.LNumber(frame.CurrentLine))
			break
		}
	}
	l.Push(raised)
	return 1
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
	return Error(oneLine(toString(text) + " script: " + digest + where + "."))
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
	throw(errorTable(l, text))
	return 0
}
