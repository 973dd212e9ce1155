package luatest

import (
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// Coverage and the portability check compile a script with calls of theirs put
// into its syntax tree. Their functions have names that no script can spell.

// expressionsOf calls visit for the place of each expression that is a direct
// part of x, a statement or an expression, in the order of evaluation.
func expressionsOf(x ast.PositionHolder, visit func(*ast.Expr)) {
	each := func(list []ast.Expr) {
		for i := range list {
			visit(&list[i])
		}
	}
	optional := func(place *ast.Expr) {
		if *place != nil {
			visit(place)
		}
	}
	switch x := x.(type) {
	case *ast.AssignStmt:
		// What is assigned to stays a variable or a field; only the parts of a field are evaluated.
		for _, target := range x.Lhs {
			if field, ok := target.(*ast.AttrGetExpr); ok {
				expressionsOf(field, visit)
			}
		}
		each(x.Rhs)
	case *ast.LocalAssignStmt:
		each(x.Exprs)
	case *ast.FuncCallStmt:
		expressionsOf(x.Expr, visit)
	case *ast.WhileStmt:
		visit(&x.Condition)
	case *ast.RepeatStmt:
		visit(&x.Condition)
	case *ast.IfStmt:
		visit(&x.Condition)
	case *ast.NumberForStmt:
		visit(&x.Init)
		visit(&x.Limit)
		optional(&x.Step)
	case *ast.GenericForStmt:
		each(x.Exprs)
	case *ast.ReturnStmt:
		each(x.Exprs)
	case *ast.AttrGetExpr:
		visit(&x.Object)
		visit(&x.Key)
	case *ast.TableExpr:
		for _, field := range x.Fields {
			optional(&field.Key)
			visit(&field.Value)
		}
	case *ast.FuncCallExpr:
		optional(&x.Func)
		optional(&x.Receiver)
		each(x.Args)
	case *ast.LogicalOpExpr:
		visit(&x.Lhs)
		visit(&x.Rhs)
	case *ast.RelationalOpExpr:
		visit(&x.Lhs)
		visit(&x.Rhs)
	case *ast.StringConcatOpExpr:
		visit(&x.Lhs)
		visit(&x.Rhs)
	case *ast.ArithmeticOpExpr:
		visit(&x.Lhs)
		visit(&x.Rhs)
	case *ast.UnaryMinusOpExpr:
		visit(&x.Expr)
	case *ast.UnaryNotOpExpr:
		visit(&x.Expr)
	case *ast.UnaryLenOpExpr:
		visit(&x.Expr)
	}
}

// blocksOf calls visit for each block that is a direct part of x, with the
// names that are local to it from its beginning. The blocks of a function that
// is defined by a statement are among them.
func blocksOf(x ast.PositionHolder, visit func(block *[]ast.Stmt, names []string)) {
	switch x := x.(type) {
	case *ast.DoBlockStmt:
		visit(&x.Stmts, nil)
	case *ast.WhileStmt:
		visit(&x.Stmts, nil)
	case *ast.RepeatStmt:
		visit(&x.Stmts, nil)
	case *ast.IfStmt:
		visit(&x.Then, nil)
		visit(&x.Else, nil)
	case *ast.NumberForStmt:
		visit(&x.Stmts, []string{x.Name})
	case *ast.GenericForStmt:
		visit(&x.Stmts, x.Names)
	case *ast.FuncDefStmt:
		names := x.Func.ParList.Names
		if x.Name.Func == nil {
			names = append([]string{"self"}, names...)
		}
		visit(&x.Func.Stmts, names)
	case *ast.FunctionExpr:
		visit(&x.Stmts, x.ParList.Names)
	}
}

// at gives a node that was put into the tree the line of the one it is for.
func at[T ast.PositionHolder](line int, node T) T {
	node.SetLine(line)
	node.SetLastLine(line)
	return node
}

// callOf is an expression that calls a function of luatest and has one value,
// also where it is the last of a list. It is never a tail call, which would
// hide its line from an error.
func callOf(line int, function string, args ...ast.Expr) *ast.FuncCallExpr {
	name := at(line, &ast.IdentExpr{Value: function})
	return at(line, &ast.FuncCallExpr{Func: name, Args: args, AdjustRet: true})
}

func numberNode(line, n int) ast.Expr {
	return at(line, &ast.NumberExpr{Value: strconv.Itoa(n)})
}

// sourceOf writes an expression as Lua, on one line and with spaces as gofmt
// would have them. Functions and large constructors are cut short.
func sourceOf(e ast.Expr) string { return sourceIn(e, 0) }

var precedences = map[string]int{
	"or": 1, "and": 2, "<": 3, ">": 3, "<=": 3, ">=": 3, "~=": 3, "==": 3, "..": 4,
	"+": 5, "-": 5, "*": 6, "/": 6, "%": 6, "unary": 7, "^": 8,
}

// sourceIn writes e for a place that binds with a precedence.
func sourceIn(e ast.Expr, outer int) string {
	binary := func(operator string, lhs, rhs ast.Expr) string {
		inner := precedences[operator]
		left, right := inner, inner+1
		switch operator {
		case "..":
			left, right = right, left
		case "^": // of whose right side a sign is a part
			left, right = right, precedences["unary"]
		}
		text := sourceIn(lhs, left) + " " + operator + " " + sourceIn(rhs, right)
		if inner < outer {
			return "(" + text + ")"
		}
		return text
	}
	unary := func(operator string, operand ast.Expr) string {
		text := operator + sourceIn(operand, precedences["unary"])
		if precedences["unary"] < outer {
			return "(" + text + ")"
		}
		return text
	}
	list := func(exprs []ast.Expr) string {
		var texts []string
		for _, e := range exprs {
			texts = append(texts, sourceOf(e))
		}
		return strings.Join(texts, ", ")
	}
	// Only names, fields and calls may be indexed or called as they stand.
	prefix := func(e ast.Expr) string {
		switch e.(type) {
		case *ast.IdentExpr, *ast.AttrGetExpr, *ast.FuncCallExpr:
			return sourceOf(e)
		}
		return "(" + sourceOf(e) + ")"
	}
	switch e := e.(type) {
	case *ast.TrueExpr:
		return "true"
	case *ast.FalseExpr:
		return "false"
	case *ast.NilExpr:
		return "nil"
	case *ast.NumberExpr:
		return e.Value
	case *ast.StringExpr:
		return luaString(e.Value)
	case *ast.Comma3Expr:
		return "..."
	case *ast.IdentExpr:
		return e.Value
	case *ast.AttrGetExpr:
		if key, ok := e.Key.(*ast.StringExpr); ok && isName(key.Value) {
			return prefix(e.Object) + "." + key.Value
		}
		return prefix(e.Object) + "[" + sourceOf(e.Key) + "]"
	case *ast.TableExpr:
		if len(e.Fields) == 0 {
			return "{}"
		}
		return "{...}"
	case *ast.FuncCallExpr:
		if e.Func == nil {
			return prefix(e.Receiver) + ":" + e.Method + "(" + list(e.Args) + ")"
		}
		return prefix(e.Func) + "(" + list(e.Args) + ")"
	case *ast.LogicalOpExpr:
		return binary(e.Operator, e.Lhs, e.Rhs)
	case *ast.RelationalOpExpr:
		return binary(e.Operator, e.Lhs, e.Rhs)
	case *ast.StringConcatOpExpr:
		return binary("..", e.Lhs, e.Rhs)
	case *ast.ArithmeticOpExpr:
		return binary(e.Operator, e.Lhs, e.Rhs)
	case *ast.UnaryMinusOpExpr:
		return unary("-", e.Expr)
	case *ast.UnaryNotOpExpr:
		return unary("not ", e.Expr)
	case *ast.UnaryLenOpExpr:
		return unary("#", e.Expr)
	case *ast.FunctionExpr:
		return "function(...)"
	}
	return "?"
}

// luaString writes a string as a Lua literal of printable ASCII.
func luaString(text string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ' || c > '~':
			code := strconv.Itoa(int(c))
			b.WriteString(`\` + strings.Repeat("0", 3-len(code)) + code)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

func isName(text string) bool {
	for i := range len(text) {
		c := text[i] | 0x20
		if c < 'a' || c > 'z' {
			if text[i] != '_' && (i == 0 || text[i] < '0' || text[i] > '9') {
				return false
			}
		}
	}
	return text != ""
}
