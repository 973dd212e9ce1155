package luatest

import lua "github.com/yuin/gopher-lua"

// coroutineLibrary is gopher-lua's, with Lua 5.1's errors around it.
func coroutineLibrary(theirs *lua.LTable) map[string]lua.LGFunction {
	function := func(name string) lua.LGFunction { return theirs.RawGetString(name).(*lua.LFunction).GFunction }
	create, resume := function("create"), function("resume")
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
		if f, ok := l.Get(1).(*lua.LFunction); !ok || f.IsG {
			badArgument(l, 1, "Lua function expected")
		}
		return create(l)
	}
	// checkedResume leaves true and what the coroutine yielded, or false and an error.
	checkedResume := func(l *lua.LState, co *lua.LState) int {
		if now := status(l, co); now != "suspended" {
			l.Push(lua.LFalse)
			l.Push(lua.LString("cannot resume " + now + " coroutine"))
			return 2
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
				throw(raised)
				return 0
			}))
			return 1
		},
		"yield": function("yield"),
	}
}
