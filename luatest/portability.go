package luatest

import (
	"fmt"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// Target is a set of environments, besides Redis on Linux, where a script must behave
// the same.
type Target uint8

const (
	Lua54     Target = 1 << iota // Lua 5.4
	GopherLua                    // gopher-lua, on which miniredis runs scripts
	Platforms                    // other C libraries, processors and locales

	Everywhere = Lua54 | GopherLua | Platforms
)

// SetPortable makes the engine check scripts for behaviour that differs between Redis,
// with its Lua 5.1, and the targets. 0 ends that. The script runs as usual, but its reply
// is an error that begins with PORTABILITY and lists each difference once, with its reason
// and line. Scripts take several times as long.
//
// The engine looks for:
//
//   - as text, by .. or tostring or where a function wants a string: numbers of
//     1e14 and more, fractions, infinities, -0, and what Lua 5.4 writes as 8.0:
//     the result of / or ^, directly or by way of a local variable;
//   - tables, functions and threads in tostring;
//   - strings in arithmetic, or where a function or a loop wants a number;
//   - results and literals from 2^53; % where signs or zeros differ;
//   - the length of a table with holes, also in unpack and the library table;
//   - pairs and next over more than one entry, but for a test of emptiness;
//   - < and its kin between strings, also by table.sort: they follow the locale;
//   - replies and arguments of redis.call that are not whole or from 2^53;
//   - fractions where string.format or another function wants a whole number,
//     %s for what is no string or has a NUL, and %q of control characters;
//   - patterns with NUL, %f, %g or %z; gsub and gmatch with patterns that match
//     nothing; ^ in gmatch; % before a letter in a replacement;
//   - what tonumber reads in one version only or as a float;
//   - functions, parameters and metamethods that only one version has, but for
//     the expression table.unpack or unpack; and those that give other results.
func (e *Engine) SetPortable(targets Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.portable = targets
	e.instrumented = nil
}

// What is put into the code of a script calls these. Each returns the value
// that it has checked.
const (
	checkText    = "(text)"    // what .. or tostring is to write; a second argument says that it is a float
	checkOperand = "(operand)" // what arithmetic is done with
	checkResult  = "(result)"  // what has come of it
	checkModulo  = "(modulo)"  // the operands of %, of which it returns the result
	checkOrder   = "(order)"   // what is compared with <
	checkLength  = "(length)"  // what # is applied to
	checkBound   = "(bound)"   // a bound or the step of a loop
	checkReply   = "(reply)"   // what the script returns
	refuseText   = "(refuse)"  // refuses it, for the targets and with the text that follow
	plainNext    = "(next)"    // next, unchecked
	checkUnpack  = "(unpack)"  // unpack, where table.unpack was preferred
)

// checkedDepth bounds how deep a reply is followed, which may hold itself.
const checkedDepth = 1000

// exactLimit is where float64 ends to hold every whole number, textLimit where
// Lua 5.1 writes 1e+14.
const (
	exactLimit = 1 << 53
	textLimit  = 1e14
)

// checker puts the checks into a syntax tree.
type checker struct {
	scopes   []map[string]*variable
	function int // how many functions deep
}

// variable is a local variable.
type variable struct {
	float bool // Lua 5.4 would have a float there
}

func checkPortability(chunk []ast.Stmt) {
	(&checker{}).block(&chunk, nil)
}

func (c *checker) find(name string) *variable {
	for i := len(c.scopes) - 1; i >= 0; i-- {
		if v := c.scopes[i][name]; v != nil {
			return v
		}
	}
	return nil
}

func (c *checker) declare(name string, float bool) {
	c.scopes[len(c.scopes)-1][name] = &variable{float}
}

// block checks a block. What follows it in its scope, the condition of a
// repeat, is given as well.
func (c *checker) block(stmts *[]ast.Stmt, names []string, then ...*ast.Expr) {
	c.scopes = append(c.scopes, map[string]*variable{})
	for _, name := range names {
		c.declare(name, false)
	}
	for _, stmt := range *stmts {
		c.statement(stmt)
	}
	for _, place := range then {
		c.expression(place)
	}
	c.scopes = c.scopes[:len(c.scopes)-1]
}

func (c *checker) statement(stmt ast.Stmt) {
	switch stmt := stmt.(type) {
	case *ast.LocalAssignStmt:
		if len(stmt.Names) == 1 && len(stmt.Exprs) == 1 {
			if _, ok := stmt.Exprs[0].(*ast.FunctionExpr); ok {
				c.declare(stmt.Names[0], false) // local function sees itself
			}
		}
		expressionsOf(stmt, c.expression)
		for i, name := range stmt.Names {
			c.declare(name, i < len(stmt.Exprs) && c.isFloat(stmt.Exprs[i]))
		}
	case *ast.AssignStmt:
		expressionsOf(stmt, c.expression)
		for i, target := range stmt.Lhs {
			if name, ok := target.(*ast.IdentExpr); ok {
				if v := c.find(name.Value); v != nil {
					v.float = i < len(stmt.Rhs) && c.isFloat(stmt.Rhs[i])
				}
			}
		}
	case *ast.NumberForStmt:
		float := c.isFloat(stmt.Init) || stmt.Step != nil && c.isFloat(stmt.Step)
		expressionsOf(stmt, func(place *ast.Expr) {
			c.expression(place)
			if !isArithmetic(*place) {
				*place = callOf((*place).Line(), checkBound, *place)
			}
		})
		if stmt.Step != nil {
			line := stmt.Step.Line()
			stmt.Step = callOf(line, checkBound, stmt.Step, at(line, &ast.TrueExpr{}))
		}
		c.scopes = append(c.scopes, map[string]*variable{stmt.Name: {float}})
		c.block(&stmt.Stmts, nil)
		c.scopes = c.scopes[:len(c.scopes)-1]
	case *ast.RepeatStmt:
		c.block(&stmt.Stmts, nil, &stmt.Condition)
	case *ast.ReturnStmt:
		expressionsOf(stmt, c.expression)
		if c.function == 0 && len(stmt.Exprs) > 0 {
			first := &stmt.Exprs[0]
			*first = callOf((*first).Line(), checkReply, *first)
		}
	case *ast.FuncDefStmt:
		c.functionBody(stmt, stmt.Func)
	default:
		expressionsOf(stmt, c.expression)
		blocksOf(stmt, func(block *[]ast.Stmt, names []string) { c.block(block, names) })
	}
}

func (c *checker) functionBody(x ast.PositionHolder, f *ast.FunctionExpr) {
	c.function++
	blocksOf(x, func(block *[]ast.Stmt, names []string) {
		if f.ParList.HasVargs {
			names = append(names[:len(names):len(names)], varargs)
		}
		c.block(block, names)
	})
	c.function--
}

// varargs is a variable that functions with ... have in the checker's books.
const varargs = "(varargs)"

// expression checks an expression after its parts.
func (c *checker) expression(place *ast.Expr) {
	switch e := (*place).(type) {
	case *ast.FunctionExpr:
		c.functionBody(e, e)
		return
	case *ast.LogicalOpExpr:
		if fallback, ok := e.Rhs.(*ast.IdentExpr); ok && e.Operator == "or" && fallback.Value == "unpack" &&
			sourceOf(unwrapped(e.Lhs)) == "table.unpack" && c.find("unpack") == nil && c.find("table") == nil {
			fallback.Value = checkUnpack
			return
		}
	}
	expressionsOf(*place, c.expression)
	line := (*place).Line()
	wrap := func(place *ast.Expr, function string) {
		if !isArithmetic(*place) {
			*place = callOf((*place).Line(), function, *place)
		}
	}
	refuse := func(targets Target, format string, args ...any) {
		text := at(line, &ast.StringExpr{Value: fmt.Sprintf(format, args...)})
		*place = callOf(line, refuseText, *place, numberNode(line, int(targets)), text)
	}
	switch e := (*place).(type) {
	case *ast.NumberExpr:
		x, ok := parseLuaNumber(e.Value)
		switch {
		case len(e.Value) > 1 && e.Value[0] == '0' && e.Value[1] >= '0' && e.Value[1] <= '9':
			refuse(GopherLua, "a number that begins with 0: gopher-lua reads it as octal")
		case !ok || math.Abs(x) >= exactLimit && !strings.ContainsAny(e.Value, ".eE"):
			refuse(Lua54, "the number %s: Lua 5.1 rounds whole numbers from 2^53, Lua 5.4 wraps them at 2^63", e.Value)
		}
	case *ast.IdentExpr:
		if e.Value == "arg" && c.find("arg") == nil && c.find(varargs) != nil {
			refuse(Lua54, "arg in a function with ...: Lua 5.4 has no such variable; use { ... }")
		}
	case *ast.FuncCallExpr:
		if name, ok := e.Func.(*ast.IdentExpr); ok && name.Value == "tostring" && len(e.Args) == 1 {
			c.text(&e.Args[0])
		}
	case *ast.StringConcatOpExpr:
		for _, operand := range []*ast.Expr{&e.Lhs, &e.Rhs} {
			switch (*operand).(type) {
			case *ast.StringExpr, *ast.StringConcatOpExpr:
			default:
				c.text(operand)
			}
		}
	case *ast.ArithmeticOpExpr:
		if e.Operator == "%" {
			*place = callOf(line, checkModulo, e.Lhs, e.Rhs)
			return
		}
		wrap(&e.Lhs, checkOperand)
		wrap(&e.Rhs, checkOperand)
		*place = callOf(line, checkResult, e)
	case *ast.UnaryMinusOpExpr:
		wrap(&e.Expr, checkOperand)
	case *ast.UnaryLenOpExpr:
		wrap(&e.Expr, checkLength)
	case *ast.UnaryNotOpExpr:
		c.allowNext(e.Expr)
	case *ast.RelationalOpExpr:
		switch e.Operator {
		case "==", "~=":
			if _, ok := e.Rhs.(*ast.NilExpr); ok {
				c.allowNext(e.Lhs)
			}
		default:
			wrap(&e.Lhs, checkOrder)
		}
	}
}

// text has an expression checked that becomes text.
func (c *checker) text(place *ast.Expr) {
	line := (*place).Line()
	args := []ast.Expr{*place}
	if c.isFloat(*place) {
		args = append(args, at(line, &ast.TrueExpr{}))
	}
	*place = callOf(line, checkText, args...)
}

// allowNext lets next pass where it is asked only whether there is an entry.
func (c *checker) allowNext(e ast.Expr) {
	if call, ok := unwrapped(e).(*ast.FuncCallExpr); ok && len(call.Args) == 1 && c.find("next") == nil {
		if name, ok := call.Func.(*ast.IdentExpr); ok && name.Value == "next" {
			name.Value = plainNext
		}
	}
}

// unwrapped returns the expression of the script in a call that was put around it.
func unwrapped(e ast.Expr) ast.Expr {
	call, ok := e.(*ast.FuncCallExpr)
	if !ok {
		return e
	}
	switch name, _ := call.Func.(*ast.IdentExpr); {
	case name == nil:
	case name.Value == coverFunction:
		return unwrapped(call.Args[1])
	case name.Value == checkResult, name.Value == checkOperand, name.Value == checkOrder, name.Value == checkText,
		name.Value == refuseText:
		return unwrapped(call.Args[0])
	}
	return e
}

// isArithmetic tells whether an expression is a number whatever happens.
func isArithmetic(e ast.Expr) bool {
	switch e := unwrapped(e).(type) {
	case *ast.NumberExpr, *ast.UnaryLenOpExpr:
		return true
	case *ast.ArithmeticOpExpr:
		return true
	case *ast.UnaryMinusOpExpr:
		return isArithmetic(e.Expr)
	}
	return false
}

// floatFunctions are those whose results are floats in Lua 5.4.
var floatFunctions = map[string]bool{
	"math.acos": true, "math.asin": true, "math.atan": true, "math.cos": true, "math.deg": true, "math.exp": true,
	"math.log": true, "math.rad": true, "math.sin": true, "math.sqrt": true, "math.tan": true,
}

// isFloat tells whether an expression is known to have a float in Lua 5.4.
func (c *checker) isFloat(e ast.Expr) bool {
	switch e := unwrapped(e).(type) {
	case *ast.NumberExpr:
		return !strings.HasPrefix(e.Value, "0x") && strings.ContainsAny(e.Value, ".eE")
	case *ast.ArithmeticOpExpr:
		return e.Operator == "/" || e.Operator == "^" || c.isFloat(e.Lhs) || c.isFloat(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		return c.isFloat(e.Expr)
	case *ast.LogicalOpExpr:
		return e.Operator == "or" && c.isFloat(e.Lhs) || c.isFloat(e.Rhs)
	case *ast.IdentExpr:
		v := c.find(e.Value)
		return v != nil && v.float
	case *ast.FuncCallExpr:
		if e.Func == nil {
			return false
		}
		if name, ok := e.Func.(*ast.IdentExpr); ok && name.Value == checkModulo {
			return c.isFloat(e.Args[0]) || c.isFloat(e.Args[1])
		}
		return floatFunctions[sourceOf(e.Func)]
	}
	return false
}

// checks returns the functions that code is made to call.
func (s *sandbox) checks() map[string]lua.LGFunction {
	returned := func(check func(l *lua.LState, v lua.LValue)) lua.LGFunction {
		return func(l *lua.LState) int {
			v := l.Get(1)
			check(l, v)
			l.Push(v)
			return 1
		}
	}
	return map[string]lua.LGFunction{
		checkText: returned(func(l *lua.LState, v lua.LValue) {
			s.checkText(l, v)
			if x, ok := v.(lua.LNumber); ok && l.Get(2) == lua.LTrue && float64(x) == math.Trunc(float64(x)) {
				s.refuse(l, Lua54, "%.0f, a float, as text: Lua 5.4 writes %.1f; use math.floor or string.format", float64(x), float64(x))
			}
		}),
		checkOperand: returned(s.checkNumber),
		checkResult:  returned(s.checkExact),
		checkModulo:  s.luaModulo,
		checkOrder: returned(func(l *lua.LState, v lua.LValue) {
			if v.Type() == lua.LTString {
				s.refuse(l, GopherLua|Platforms, "strings compared by order: it follows the server's locale, and in gopher-lua the bytes")
			}
		}),
		checkLength: returned(func(l *lua.LState, v lua.LValue) {
			if t, ok := v.(*lua.LTable); ok {
				s.checkHoles(l, t)
			}
		}),
		checkBound: returned(func(l *lua.LState, v lua.LValue) {
			s.checkNumber(l, v)
			if v == lua.LNumber(0) && l.Get(2) == lua.LTrue {
				s.refuse(l, Lua54, "a loop with a step of 0: it never ends in Lua 5.1, and is an error in Lua 5.4")
			}
		}),
		checkReply: returned(func(l *lua.LState, v lua.LValue) { s.checkReply(l, v, 0) }),
		refuseText: func(l *lua.LState) int {
			s.refuse(l, Target(l.Get(2).(lua.LNumber)), "%s", string(l.Get(3).(lua.LString)))
			l.SetTop(1)
			return 1
		},
	}
}

// checkText checks a value that becomes text.
func (s *sandbox) checkText(l *lua.LState, v lua.LValue) {
	number, ok := v.(lua.LNumber)
	if !ok {
		return
	}
	const instead = "use string.format"
	switch x := float64(number); {
	case math.IsInf(x, 0) || math.IsNaN(x):
		s.refuse(l, Platforms, "%v as text: each platform writes it in its own way", x)
	case math.Abs(x) >= textLimit:
		s.refuse(l, Lua54|GopherLua, "%.0f as text: Lua 5.1 writes %s, and not the digits; "+instead, x, formatFloat(x, 14))
	case x != math.Trunc(x):
		s.refuse(l, GopherLua, "the fraction %v as text: Lua 5.1 and 5.4 write 14 digits, gopher-lua all; "+instead, x)
	case x == 0 && math.Signbit(x):
		s.refuse(l, Lua54, "-0 as text: Lua 5.1 writes -0, Lua 5.4 writes 0 or -0.0; "+instead)
	}
}

// checkNumber refuses a string in the place of a number.
func (s *sandbox) checkNumber(l *lua.LState, v lua.LValue) {
	if text, ok := v.(lua.LString); ok {
		s.refuse(l, Lua54|GopherLua, "the string %.40q as a number: versions read strings in their own ways; use tonumber", string(text))
	}
}

// checkExact checks what arithmetic has come to.
func (s *sandbox) checkExact(l *lua.LState, v lua.LValue) {
	if x, ok := v.(lua.LNumber); ok && math.Abs(float64(x)) >= exactLimit && !math.IsInf(float64(x), 0) {
		s.refuse(l, Lua54, "%.0f, a number from 2^53: Lua 5.1 rounds it, Lua 5.4 wraps it at 2^63", float64(x))
	}
}

// checkWhole checks a number where a whole one is wanted.
func (s *sandbox) checkWhole(l *lua.LState, v lua.LValue, place string) {
	s.checkNumber(l, v)
	number, ok := v.(lua.LNumber)
	if !ok {
		return
	}
	s.checkExact(l, v)
	if x := float64(number); x != math.Trunc(x) || math.IsInf(x, 0) {
		s.refuse(l, Lua54, "%v in %s: Lua 5.1 cuts the fraction off, Lua 5.4 raises an error; use math.floor", x, place)
	}
}

// checkHoles checks a table whose length is asked for.
func (s *sandbox) checkHoles(l *lua.LState, t *lua.LTable) {
	count, highest := 0, 0.0
	t.ForEach(func(k, _ lua.LValue) {
		if x, ok := k.(lua.LNumber); ok && x >= 1 && float64(x) == math.Trunc(float64(x)) {
			count, highest = count+1, max(highest, float64(x))
		}
	})
	if highest != float64(count) {
		s.refuse(l, Lua54|GopherLua, "the length of a table with %d items, the last at %.0f: versions find different ends of one with holes",
			count, highest)
	}
}

func (s *sandbox) checkReply(l *lua.LState, v lua.LValue, depth int) {
	switch v := v.(type) {
	case lua.LNumber:
		s.checkSent(l, v, "a reply")
	case *lua.LTable:
		for i := 1; depth < checkedDepth && v.RawGetInt(i) != lua.LNil; i++ {
			s.checkReply(l, v.RawGetInt(i), depth+1)
		}
	}
}

// checkSent checks a number that leaves Lua.
func (s *sandbox) checkSent(l *lua.LState, v lua.LValue, place string) {
	number, ok := v.(lua.LNumber)
	if !ok {
		return
	}
	switch x := float64(number); {
	case math.IsInf(x, 0) || math.IsNaN(x) || x != math.Trunc(x):
		s.refuse(l, Lua54|GopherLua, "%v in %s, which is not whole: versions cut or write it in their own ways; use string.format", x, place)
	case math.Abs(x) >= exactLimit:
		s.refuse(l, Everywhere, "%.0f in %s, a number from 2^53: it is not exact; use a string", x, place)
	}
}
