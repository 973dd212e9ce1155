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

// asLua51 makes a syntax tree mean what it means in Lua 5.1. It returns an
// error, in the form "line: problem", for what Lua 5.1 does not have.
func asLua51(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		switch node := v.Interface().(type) {
		case *ast.GotoStmt, *ast.LabelStmt:
			return fmt.Errorf("%d: Lua 5.1 has no goto and no labels", node.(ast.PositionHolder).Line())
		case *ast.NumberExpr:
			x, ok := parseLuaNumber(node.Value)
			if !ok {
				return fmt.Errorf("%d: malformed number near '%s'", node.Line(), node.Value)
			}
			// gopher-lua takes a leading 0 for octal.
			node.Value = strconv.FormatFloat(x, 'g', -1, 64)
		case *ast.StringConcatOpExpr:
			if v.CanSet() {
				v.Set(reflect.ValueOf(concatCall(node)))
			}
		}
		return asLua51(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if err := asLua51(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if err := asLua51(v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// concatMark is the constant in a compiled chunk in whose place luaConcatenate is put.
const concatMark lua.LString = "\x00luatest: the operator ..\x00"

// concatCall turns a .. b .. c into a call: gopher-lua prints a number with as
// many digits as it needs, where Lua 5.1 prints 14.
func concatCall(node *ast.StringConcatOpExpr) ast.Expr {
	call := &ast.FuncCallExpr{Func: &ast.StringExpr{Value: string(concatMark)}}
	operand := ast.Expr(node)
	for {
		concat, ok := operand.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		call.Args = append(call.Args, concat.Lhs)
		operand = concat.Rhs
	}
	// As the last argument of a call an operand must not turn into several.
	switch last := operand.(type) {
	case *ast.FuncCallExpr:
		last.AdjustRet = true
	case *ast.Comma3Expr:
		last.AdjustRet = true
	}
	call.Args = append(call.Args, operand)
	// An error is where Lua knows of the last operand.
	end := max(operand.Line(), operand.LastLine())
	call.Func.SetLine(end)
	call.SetLine(end)
	call.SetLastLine(end)
	return call
}

// linkConcat puts luaConcatenate where concatCall has left its mark.
func linkConcat(proto *lua.FunctionProto) {
	for i, constant := range proto.Constants {
		if constant == concatMark {
			proto.Constants[i] = &lua.LFunction{IsG: true, GFunction: luaConcatenate}
		}
	}
	for _, inner := range proto.FunctionPrototypes {
		linkConcat(inner)
	}
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
