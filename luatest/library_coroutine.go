package luatest

import (
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// coroutineBase is the name of the chunk whose function is beneath that of every
// coroutine: gopher-lua loses a coroutine whose last function ends with a yield.
const coroutineBase = "(coroutine)"

var coroutineBody = sync.OnceValue(func() *lua.FunctionProto {
	const source = "local f = ... local function same(...) return ... end return function(...) return same(f(...)) end"
	proto, err := compileChunk(source, coroutineBase, 0)
	if err != nil {
		panic(err)
	}
	return proto
})

// coroutineLibrary is gopher-lua's, with Lua 5.1's errors around it.
func coroutineLibrary(theirs *lua.LTable) map[string]lua.LGFunction {
	function := func(name string) lua.LGFunction { return theirs.RawGetString(name).(*lua.LFunction).GFunction }
	create, resume, yield := function("create"), function("resume"), function("yield")
	status := func(l *lua.LState, co *lua.LState) string {
		if co == l {
			return "running"
		}
		return l.Status(co)
	}
	coroutineArgument := func(l *lua.LState) *lua.LState {
		co, ok := l.Get(1).(*lua.LState)
		if !ok {
			badArgument(l, 1, "coroutine expected")
		}
		return co
	}
	checkedCreate := func(l *lua.LState) int {
		f, ok := l.Get(1).(*lua.LFunction)
		if !ok || f.IsG {
			badArgument(l, 1, "Lua function expected")
		}
		l.SetTop(0)
		l.Push(l.NewFunctionFromProto(coroutineBody()))
		l.Push(f)
		l.Call(1, 1)
		return create(l)
	}
	// checkedResume leaves true and what the coroutine yielded, or false and an error.
	checkedResume := func(l *lua.LState, co *lua.LState) int {
		if now := status(l, co); now != "suspended" {
			l.Push(lua.LFalse)
			l.Push(lua.LString("cannot resume " + now + " coroutine"))
			return 2
		}
		// gopher-lua returns from yield all values that there are, whatever is wanted.
		if wanted, known := yieldResults(co); known {
			l.SetTop(1 + wanted)
		}
		return resume(l)
	}
	return map[string]lua.LGFunction{
		"create":  checkedCreate,
		"resume":  func(l *lua.LState) int { return checkedResume(l, coroutineArgument(l)) },
		"running": function("running"),
		"status": func(l *lua.LState) int {
			l.Push(lua.LString(status(l, coroutineArgument(l))))
			return 1
		},
		"wrap": func(l *lua.LState) int {
			checkedCreate(l)
			co := l.Get(-1).(*lua.LState)
			l.Push(l.NewFunction(func(l *lua.LState) int {
				l.Insert(co, 1)
				n := checkedResume(l, co)
				if lua.LVAsBool(l.Get(-n)) {
					return n - 1
				}
				raised := l.Get(-1)
				if text, ok := stringOf(raised); ok {
					raised = lua.LString(position(l, 1) + text)
				}
				throw(l, raised)
				return 0
			}))
			return 1
		},
		"yield": func(l *lua.LState) int {
			if !mayYield(l) {
				throw(l, lua.LString("attempt to yield across metamethod/C-call boundary"))
			}
			return yield(l)
		},
	}
}
