package luatest

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// defaultMaxInstructions is some two seconds of work, and a thousand times what
// a script that means to return soon takes.
const defaultMaxInstructions = 20_000_000

// SetMaxInstructions sets how many instructions of the Lua machine one run of a script
// may take. 0 sets the default of 20 million. A script that takes more ends with an
// error that it cannot catch, so an endless script cannot hang a test. Its earlier
// writes stay.
func (e *Engine) SetMaxInstructions(n int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.maxInstructions = n
}

// Instructions returns how many instructions of the Lua machine scripts have run since
// the last ResetTrace. The number depends only on the script, its arguments and the
// keyspace, so tests can compare it: if a change makes a script do twice the work, the
// number doubles. Coverage and the portability check add instructions of their own.
func (e *Engine) Instructions() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.instructions
}

// meter counts the instructions of a run. To gopher-lua it is a context, which
// is asked before each instruction whether it is done.
type meter struct {
	count, limit int64
}

var (
	_     context.Context = (*meter)(nil)
	spent                 = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()
)

func (m *meter) Done() <-chan struct{} {
	m.count++
	if m.count > m.limit {
		return spent
	}
	return nil
}

func (m *meter) Err() error {
	if m.count > m.limit {
		return fmt.Errorf("luatest: the script took more than %d instructions; see SetMaxInstructions", m.limit)
	}
	return nil
}

func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }

func (m *meter) Value(any) any { return nil }

// start begins a run.
func (m *meter) start(limit int64) {
	if limit == 0 {
		limit = defaultMaxInstructions
	}
	m.count, m.limit = 0, limit
}

// meterCoroutines puts the meter into the coroutines that scripts make, each of
// which gopher-lua gives a context of its own.
func (s *sandbox) meterCoroutines(coroutine *lua.LTable) {
	for name, thread := range map[string]func(made lua.LValue) *lua.LState{
		"create": func(made lua.LValue) *lua.LState { return made.(*lua.LState) },
		"wrap": func(made lua.LValue) *lua.LState {
			return made.(*lua.LFunction).Upvalues[0].Value().(*lua.LState)
		},
	} {
		create := coroutine.RawGetString(name).(*lua.LFunction).GFunction
		coroutine.RawSetString(name, s.state.NewFunction(func(l *lua.LState) int {
			results := create(l)
			thread(l.Get(-1)).SetContext(&s.meter)
			return results
		}))
	}
}
