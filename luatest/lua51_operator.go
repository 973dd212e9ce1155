package luatest

import "github.com/yuin/gopher-lua/ast"

// hasConstantChoice reports whether a number is negated in which a constant is
// chosen, which Lua 5.1 does as the script runs.
func hasConstantChoice(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.UnaryMinusOpExpr:
		return hasConstantChoice(e.Expr)
	case *ast.ArithmeticOpExpr:
		return hasConstantChoice(e.Lhs) || hasConstantChoice(e.Rhs)
	case *ast.LogicalOpExpr:
		_, constant := truth(e.Lhs)
		return constant || hasConstantChoice(e.Lhs)
	}
	return false
}

// arithmetic puts a call in the place of an operator where gopher-lua's may have
// another result: the remainder of C's fmod, and a zero or a NaN without its sign.
func (r *rewriter) arithmetic(e *ast.ArithmeticOpExpr) ast.Expr {
	var mark string
	switch {
	case e.Operator == "%":
		mark = moduloMark
	case e.Operator == "*" && !isPositive(e.Lhs) && !isPositive(e.Rhs):
		mark = timesMark
	case e.Operator == "/" && !isPositive(e.Rhs):
		mark = divideMark
	case e.Operator == "^" && !(isPositive(e.Lhs) && isPositive(e.Rhs)):
		mark = powerMark
	default:
		return e
	}
	if r.changes(e.Lhs, e.Rhs) {
		// Lua 5.1 takes a local variable as it is when all has been evaluated.
		second := at(e.Line(), &ast.TrueExpr{})
		return single(markedCall(e.Line(), mark, e.Rhs, e.Lhs, second))
	}
	return single(markedCall(e.Line(), mark, e.Lhs, single(e.Rhs)))
}

// isPositive reports whether an expression is a constant above 0.
func isPositive(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.NumberExpr:
		x, _ := parseLuaNumber(e.Value)
		return x > 0
	case *ast.ArithmeticOpExpr:
		return e.Operator != "-" && e.Operator != "%" && isPositive(e.Lhs) && isPositive(e.Rhs)
	}
	return false
}

// changes reports whether an expression is a local variable that the evaluation
// of another may assign to.
func (r *rewriter) changes(e, other ast.Expr) bool {
	name, ok := e.(*ast.IdentExpr)
	if !ok || !r.reassigned[name.Value] || !r.isLocal(e) {
		return false
	}
	_, constant := truth(other)
	_, isName := other.(*ast.IdentExpr)
	return !constant && !isName
}
