package luatest

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func (s *sandbox) tableLibrary() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"concat":   tableConcat,
		"foreach":  s.tableForEach,
		"foreachi": tableForEachI,
		"getn": func(l *lua.LState) int {
			l.Push(lua.LNumber(tableArgument(l, 1).Len()))
			return 1
		},
		"insert": s.tableInsert,
		"maxn":   s.tableMaxN,
		"remove": s.tableRemove,
		"setn": func(l *lua.LState) int {
			tableArgument(l, 1)
			fail(l, "'setn' is obsolete")
			return 0
		},
		"sort": s.tableSort,
	}
}

func tableConcat(l *lua.LState) int {
	t := tableArgument(l, 1)
	separator := ""
	if l.Get(2) != lua.LNil {
		separator = stringArgument(l, 2)
	}
	from := integerOption(l, 3, 1)
	to := integerOption(l, 4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		item := t.RawGet(lua.LNumber(i))
		text, ok := stringOf(item)
		if !ok {
			fail(l, "invalid value (%s) at index %d in table for 'concat'", item.Type(), i)
		}
		b.WriteString(text)
		if i < to {
			b.WriteString(separator)
		}
	}
	l.Push(lua.LString(b.String()))
	return 1
}

func (s *sandbox) tableForEach(l *lua.LState) int {
	t := s.contents(tableArgument(l, 1))
	functionArgument(l, 2)
	for key, value := t.Next(lua.LNil); key != lua.LNil; key, value = t.Next(key) {
		if stop := callEach(l, key, value); stop {
			return 1
		}
	}
	return 0
}

func tableForEachI(l *lua.LState) int {
	t := tableArgument(l, 1)
	functionArgument(l, 2)
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
	call(l, 2, 1)
	if l.Get(-1) != lua.LNil {
		return true
	}
	l.Pop(1)
	return false
}

func (s *sandbox) tableInsert(l *lua.LState) int {
	t := tableArgument(l, 1)
	n := t.Len()
	switch l.GetTop() {
	case 2:
		s.refuseReadOnly(l, t)
		t.RawSetInt(n+1, l.Get(2))
	case 3:
		at := intArgument(l, 2)
		s.refuseReadOnly(l, t)
		for i := max(n+1, at); i > at; i-- {
			t.RawSet(lua.LNumber(i), t.RawGet(lua.LNumber(i-1)))
		}
		t.RawSet(lua.LNumber(at), l.Get(3))
	default:
		fail(l, "wrong number of arguments to 'insert'")
	}
	return 0
}

func (s *sandbox) tableRemove(l *lua.LState) int {
	t := tableArgument(l, 1)
	n := t.Len()
	at := int(int32(integerOption(l, 2, n)))
	if at < 1 || at > n {
		return 0
	}
	s.refuseReadOnly(l, t)
	removed := t.RawGetInt(at)
	for i := at; i < n; i++ {
		t.RawSetInt(i, t.RawGetInt(i+1))
	}
	t.RawSetInt(n, lua.LNil)
	l.Push(removed)
	return 1
}

func (s *sandbox) tableMaxN(l *lua.LState) int {
	highest := lua.LNumber(0)
	s.contents(tableArgument(l, 1)).ForEach(func(k, _ lua.LValue) {
		if n, ok := k.(lua.LNumber); ok {
			highest = max(highest, n)
		}
	})
	l.Push(highest)
	return 1
}

func (s *sandbox) tableSort(l *lua.LState) int {
	t := tableArgument(l, 1)
	n := t.Len()
	if l.Get(2) != lua.LNil {
		functionArgument(l, 2)
	}
	if n > 1 {
		s.refuseReadOnly(l, t)
	}
	l.SetTop(2)
	sorter{l, t}.sort(1, n)
	return 0
}

// sorter is Lua's own quicksort, so that equal items end up in the same order
// and a comparison that contradicts itself is found out in the same way.
type sorter struct {
	l *lua.LState
	t *lua.LTable
}

func (s sorter) less(a, b lua.LValue) bool {
	f, ok := s.l.Get(2).(*lua.LFunction)
	if !ok {
		return lessThan(s.l, a, b)
	}
	s.l.Push(f)
	s.l.Push(a)
	s.l.Push(b)
	call(s.l, 2, 1)
	less := lua.LVAsBool(s.l.Get(-1))
	s.l.Pop(1)
	return less
}

// lessThan is a < b in a library function, where errors have no place.
func lessThan(l *lua.LState, a, b lua.LValue) bool {
	switch x := a.(type) {
	case lua.LNumber:
		if y, ok := b.(lua.LNumber); ok {
			return x < y
		}
	case lua.LString:
		if y, ok := b.(lua.LString); ok {
			return x < y
		}
	}
	if f, ok := l.GetMetaField(a, "__lt").(*lua.LFunction); ok && a.Type() == b.Type() && f == l.GetMetaField(b, "__lt") {
		return l.LessThan(a, b)
	}
	if a.Type() == b.Type() {
		throw(l, lua.LString("attempt to compare two "+a.Type().String()+" values"))
	}
	throw(l, lua.LString("attempt to compare "+a.Type().String()+" with "+b.Type().String()))
	return false
}

func (s sorter) at(i int) lua.LValue { return s.t.RawGet(lua.LNumber(i)) }

// order swaps items i and j if the second is less.
func (s sorter) order(i, j int) {
	if a, b := s.at(i), s.at(j); s.less(b, a) {
		s.t.RawSetInt(i, b)
		s.t.RawSetInt(j, a)
	}
}

func (s sorter) swap(i, j int) {
	a, b := s.at(i), s.at(j)
	s.t.RawSetInt(i, b)
	s.t.RawSetInt(j, a)
}

func (s sorter) sort(low, high int) {
	for low < high {
		s.order(low, high)
		if high-low == 1 {
			return
		}
		middle := (low + high) / 2
		a, b := s.at(low), s.at(middle)
		if s.less(b, a) {
			s.swap(low, middle)
		} else {
			s.order(middle, high)
		}
		if high-low == 2 {
			return
		}
		pivot := s.at(middle)
		s.swap(middle, high-1)
		i, j := low, high-1
		for {
			for i++; s.less(s.at(i), pivot); i++ {
				if i > high {
					fail(s.l, "invalid order function for sorting")
				}
			}
			for j--; s.less(pivot, s.at(j)); j-- {
				if j < low {
					fail(s.l, "invalid order function for sorting")
				}
			}
			if j < i {
				break
			}
			s.swap(i, j)
		}
		s.swap(high-1, i)
		// The smaller part first; the larger one without recursion.
		if i-low < high-i {
			s.sort(low, i-1)
			low = i + 1
		} else {
			s.sort(i+1, high)
			high = i - 1
		}
	}
}
