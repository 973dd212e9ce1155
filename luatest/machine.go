package luatest

import (
	"reflect"

	lua "github.com/yuin/gopher-lua"
)

// What gopher-lua keeps to itself and does not always keep right: the variables
// that closures share with the functions that are running.

var (
	guardedField  = hiddenField[lua.LState]("hasErrorFunc")
	registryField = hiddenField[lua.LState]("reg")
	upvaluesField = hiddenField[lua.LState]("uvcache")
	nextField     = hiddenField[lua.Upvalue]("next")
	valueField    = hiddenField[lua.Upvalue]("value")
	indexField    = hiddenField[lua.Upvalue]("index")
	frameField    = hiddenField[lua.Debug]("frame")
	arrayField    = hiddenField[lua.LTable]("array")
	keysField     = hiddenField[lua.LTable]("k2i")
	currentField  = hiddenField[lua.LState]("currentFrame")
)

func hiddenField[T any](name string) int {
	field, ok := reflect.TypeFor[T]().FieldByName(name)
	if !ok {
		panic("luatest: this version of gopher-lua has no " + name)
	}
	return field.Index[0]
}

// hidden returns where a field of what of points to is.
func hidden[F any](of any, field int) *F {
	return (*F)(reflect.ValueOf(of).Elem().Field(field).Addr().UnsafePointer())
}

// registerTop returns the number of registers in use, of all functions that are running.
func registerTop(l *lua.LState) int {
	return int(reflect.ValueOf(l).Elem().Field(registryField).Elem().FieldByName("top").Int())
}

// closeUpvalues cuts closures off from the registers from one on, with the
// values that are there. It must be done before these are used for others.
func closeUpvalues(l *lua.LState, from int) {
	place := hidden[*lua.Upvalue](l, upvaluesField)
	for *place != nil && *hidden[int](*place, indexField) < from {
		place = hidden[*lua.Upvalue](*place, nextField)
	}
	open := *place
	*place = nil
	for ; open != nil; open = *hidden[*lua.Upvalue](open, nextField) {
		open.Close()
		if value := hidden[lua.LValue](open, valueField); *value == nil {
			*value = lua.LNil
		}
	}
}

// maxCCalls is how deep calls may lie in each other that Lua 5.1 makes from C:
// those by functions of a library, for metamethods and of iterators.
const maxCCalls = 200

// mayCall reports whether a function of a library may call another. What the
// machine calls by itself is counted, but not refused.
func mayCall(l *lua.LState) bool {
	registers := 0 // each call takes one
	for thread := l; thread != nil; thread = thread.Parent {
		registers += registerTop(thread)
	}
	if registers < maxCCalls {
		return true
	}
	calls := 1 // the script; a function that resumes a coroutine is one more
	for thread := l; thread != nil; thread = thread.Parent {
		frame := reflect.ValueOf(thread).Elem().Field(currentField)
		for ; !frame.IsNil(); frame = frame.Elem().FieldByName("Parent") {
			f := (*lua.LFunction)(frame.Elem().FieldByName("Fn").UnsafePointer())
			opcode, _ := instruction(f, int(frame.Elem().FieldByName("Pc").Int()))
			if opcode != lua.OP_CALL && opcode != lua.OP_TAILCALL {
				calls++
			}
		}
	}
	return calls < maxCCalls
}

// call is LState.Call for functions of a library.
func call(l *lua.LState, arguments, results int) {
	if !mayCall(l) {
		throw(l, lua.LString("C stack overflow"))
	}
	l.Call(arguments, results)
}

// protectedCall is LState.PCall with a handler. The closures that the functions
// which failed have made keep their variables, and all others theirs: without a
// handler gopher-lua cuts them all off, and after a call within the call it
// forgets that there is one.
func protectedCall(l *lua.LState, arguments, results int, handler *lua.LFunction) error {
	guarded := hidden[bool](l, guardedField)
	defer func(was bool) { *guarded = was }(*guarded)
	base, closed := registerTop(l)-arguments-1, false
	err := l.PCall(arguments, results, l.NewFunction(func(l *lua.LState) int {
		closeUpvalues(l, base)
		closed = true
		l.Insert(handler, 1)
		if err := l.PCall(1, 1, nil); err != nil {
			l.Push(lua.LString("error in error handling"))
		}
		return 1
	}))
	if err != nil && !closed {
		closeUpvalues(l, base) // there was no room to call the handler, and the values are lost
	}
	return err
}

// throw raises v. In a coroutine that does not catch it the functions that are
// running end here. LState.Error does the same, but puts its own words around it.
func throw(l *lua.LState, v lua.LValue) {
	if !*hidden[bool](l, guardedField) {
		closeUpvalues(l, 0)
	}
	panic(&lua.ApiError{Type: lua.ApiErrorRun, Object: v})
}

// mayYield reports whether a coroutine is between calls of Lua functions only:
// gopher-lua would take a yield from within a metamethod, an iterator or pcall
// for its return.
func mayYield(l *lua.LState) bool {
	for level := 1; ; level++ {
		frame, ok := l.GetStack(level)
		if !ok {
			return l.Parent != nil
		}
		if opcode, _ := pendingCall(l, frame); opcode != lua.OP_CALL && opcode != lua.OP_TAILCALL {
			return false
		}
	}
}

// pendingCall returns the instruction at which a function waits for another,
// and how many results it wants, or less than 0 for all. A function of a library
// has none.
func pendingCall(l *lua.LState, frame *lua.Debug) (opcode, results int) {
	f, err := l.GetInfo("f", frame, nil)
	if err != nil {
		return -1, 0
	}
	next := reflect.ValueOf(frame).Elem().Field(frameField).Elem().FieldByName("Pc").Int()
	return instruction(f.(*lua.LFunction), int(next))
}

// instruction returns the one before the next, as pendingCall does.
func instruction(f *lua.LFunction, next int) (opcode, results int) {
	if f.IsG || next == 0 {
		return -1, 0
	}
	code := f.Proto.Code[next-1]
	return int(code >> 26), int(code>>9&0x1ff) - 1
}

// yieldResults returns how many results the yield that has suspended a coroutine
// is to have. It is not known before the first one, or if all are wanted.
func yieldResults(co *lua.LState) (wanted int, known bool) {
	frame, ok := co.GetStack(0)
	if !ok {
		return 0, false
	}
	opcode, results := pendingCall(co, frame)
	return results, opcode == lua.OP_CALL && results >= 0
}

// wasKey reports whether a table has a place for a key that has no value.
func wasKey(t *lua.LTable, key lua.LValue) bool {
	items := len(*hidden[[]lua.LValue](t, arrayField))
	if x, ok := key.(lua.LNumber); ok && x >= 1 && x == lua.LNumber(int(x)) && int(x) <= items {
		return true
	}
	_, found := (*hidden[map[lua.LValue]int](t, keysField))[key]
	return found
}
