package luatest

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// asLua51 makes numbers and the operator .. in a syntax tree mean what they mean
// in Lua 5.1.
func asLua51(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return
		}
		switch node := v.Interface().(type) {
		case *ast.NumberExpr:
			// gopher-lua takes a leading 0 for octal.
			x, _ := parseLuaNumber(node.Value)
			node.Value = strconv.FormatFloat(x, 'g', -1, 64)
		case *ast.StringConcatOpExpr:
			if v.CanSet() {
				v.Set(reflect.ValueOf(concatCall(node)))
			}
		}
		asLua51(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			asLua51(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				asLua51(v.Field(i))
			}
		}
	}
}

// Constants in a compiled chunk in whose place functions are put.
const (
	concatMark = "\x00luatest: the operator ..\x00"
	moduloMark = "\x00luatest: the operator %\x00"
	timesMark  = "\x00luatest: the operator *\x00"
	divideMark = "\x00luatest: the operator /\x00"
	powerMark  = "\x00luatest: the operator ^\x00"
	minusMark  = "\x00luatest: the operator -\x00"
	lengthMark = "\x00luatest: the operator #\x00"
	boundsMark = "\x00luatest: the bounds of a for\x00"
	extendMark = "\x00luatest: the last values of a constructor\x00"
)

var marked = map[lua.LString]lua.LGFunction{
	concatMark: luaConcatenate,
	moduloMark: func(l *lua.LState) int { return luaArithmetic(l, "__mod") },
	timesMark:  func(l *lua.LState) int { return luaArithmetic(l, "__mul") },
	divideMark: func(l *lua.LState) int { return luaArithmetic(l, "__div") },
	powerMark:  func(l *lua.LState) int { return luaArithmetic(l, "__pow") },
	minusMark:  func(l *lua.LState) int { return luaArithmetic(l, "__unm") },
	lengthMark: luaLength,
	boundsMark: luaBounds,
	extendMark: luaExtend,
}

// markedCall is a call of a function that is put in the place of its mark.
func markedCall(line int, mark string, args ...ast.Expr) *ast.FuncCallExpr {
	return at(line, &ast.FuncCallExpr{Func: at(line, &ast.StringExpr{Value: mark}), Args: args})
}

// concatCall turns a .. b .. c into a call: gopher-lua prints a number with as
// many digits as it needs, where Lua 5.1 prints 14.
func concatCall(node *ast.StringConcatOpExpr) ast.Expr {
	var operands []ast.Expr
	operand := ast.Expr(node)
	for {
		concat, ok := operand.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		operands = append(operands, concat.Lhs)
		operand = concat.Rhs
	}
	// As the last argument of a call an operand must not turn into several.
	operands = append(operands, single(operand))
	// An error is where Lua knows of the last operand.
	return markedCall(max(operand.Line(), operand.LastLine()), concatMark, operands...)
}

// linkMarked puts functions in the place of their marks.
func linkMarked(proto *lua.FunctionProto) {
	for i, constant := range proto.Constants {
		if text, ok := constant.(lua.LString); ok && marked[text] != nil {
			proto.Constants[i] = &lua.LFunction{IsG: true, GFunction: marked[text]}
		}
	}
	for _, inner := range proto.FunctionPrototypes {
		linkMarked(inner)
	}
}

// longestJump is how far a jump may lead. gopher-lua makes something else of a
// jump back that is longer.
const longestJump = 1<<17 - 1

// checkJumps refuses a function in which a jump could be too long.
func checkJumps(proto *lua.FunctionProto) error {
	for _, code := range proto.Code {
		opcode := int(code >> 26)
		if len(proto.Code) > longestJump && (opcode == lua.OP_JMP || opcode == lua.OP_FORPREP) {
			return fmt.Errorf("%d: luatest: jumps in a function of more than %d instructions are not modelled",
				max(1, proto.LineDefined), longestJump)
		}
	}
	for _, inner := range proto.FunctionPrototypes {
		if err := checkJumps(inner); err != nil {
			return err
		}
	}
	return nil
}

// isOperator reports whether a function is one of those that linkMarked puts in:
// all others that are written in Go have an environment.
func isOperator(f *lua.LFunction) bool { return f.IsG && f.Env == nil }

// luaArithmetic is an operator on two operands. A third argument says that the
// second operand has come first.
func luaArithmetic(l *lua.LState, event string) int {
	a, b := l.Get(1), l.Get(2)
	switch l.GetTop() {
	case 1:
		b = a // as Lua 5.1 passes it
	case 3:
		a, b = b, a
	}
	x, okX := numberOf(a)
	y, okY := numberOf(b)
	if okX && okY {
		l.Push(lua.LNumber(arithmetic[event](x, y)))
		return 1
	}
	var f lua.LValue = lua.LNil
	for _, operand := range []lua.LValue{b, a} {
		// Those of strings only convert numbers.
		if own := l.GetMetaField(operand, event); own != lua.LNil && operand.Type() != lua.LTString {
			f = own
		}
	}
	if f == lua.LNil {
		wrong := b
		if !okX {
			wrong = a
		}
		fail(l, "attempt to perform arithmetic on a %s value", wrong.Type())
	}
	l.Push(f)
	l.Push(a)
	l.Push(b)
	l.Call(2, 1)
	return 1
}

// luaLength is the operator #, which has no metamethod for tables in Lua 5.1.
func luaLength(l *lua.LState) int {
	switch v := l.Get(1).(type) {
	case *lua.LTable:
		l.Push(lua.LNumber(v.Len()))
	case lua.LString:
		l.Push(lua.LNumber(len(v)))
	default:
		fail(l, "attempt to get length of a %s value", v.Type())
	}
	return 1
}

// luaBounds converts where a loop begins and ends, and its step, to numbers.
func luaBounds(l *lua.LState) int {
	for i, bound := range []string{"initial value", "limit", "step"} {
		x, ok := numberOf(l.Get(i + 1))
		if !ok {
			fail(l, "'for' %s must be a number", bound)
		}
		l.Push(lua.LNumber(x))
	}
	return 3
}

// luaExtend adds values to a table that already has some items.
func luaExtend(l *lua.LState) int {
	table, items := l.Get(1).(*lua.LTable), int(l.Get(2).(lua.LNumber))
	for i := 3; i <= l.GetTop(); i++ {
		table.RawSetInt(items+i-2, l.Get(i))
	}
	l.SetTop(1)
	return 1
}

// luaConcatenate is the operator .. on all of its arguments, from right to left.
func luaConcatenate(l *lua.LState) int {
	right := l.Get(-1)
	var texts []string // those of the operands so far, last first, unless right is their value
	for n := l.GetTop() - 1; n >= 1; n-- {
		left := l.Get(n)
		leftText, ok := stringOf(left)
		if texts == nil && ok {
			if rightText, ok := stringOf(right); ok {
				texts = append(texts, rightText)
			}
		}
		if texts != nil && ok {
			texts = append(texts, leftText)
			continue
		}
		if texts != nil {
			right, texts = joinBackwards(texts), nil
		}
		right = concatByMetamethod(l, left, right)
	}
	if texts != nil {
		right = joinBackwards(texts)
	}
	l.Push(right)
	return 1
}

func joinBackwards(texts []string) lua.LValue {
	slices.Reverse(texts)
	return lua.LString(strings.Join(texts, ""))
}

func concatByMetamethod(l *lua.LState, left, right lua.LValue) lua.LValue {
	f := l.GetMetaField(left, "__concat")
	if f == lua.LNil {
		f = l.GetMetaField(right, "__concat")
	}
	if f == lua.LNil {
		wrong := left
		if _, ok := stringOf(left); ok {
			wrong = right
		}
		fail(l, "attempt to concatenate a %s value", wrong.Type())
	}
	l.Push(f)
	l.Push(left)
	l.Push(right)
	l.Call(2, 1)
	result := l.Get(-1)
	l.Pop(1)
	return result
}
