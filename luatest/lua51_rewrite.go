package luatest

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// rewriter changes a syntax tree where gopher-lua would compile it into
// something else, and gives it a form with the same meaning that gopher-lua
// compiles right. The variables that it adds have names that no script can spell.
type rewriter struct {
	locals []map[string]bool // of the function that is being rewritten, by block
	loop   *loopState        // the innermost loop of that function

	// reassigned has the names of local variables that an inner function assigns to.
	reassigned map[string]bool
	spellsLen  bool // whether the chunk has the name __len

	functions int // met so far
	err       error
}

// loopState is what is known of a loop whose body is being rewritten.
type loopState struct {
	depth  int  // of blocks, its own included
	breaks int  // met so far
	leaves bool // whether a break leaves an inner block with a local that a function may use
}

// rewrite returns the tree to compile, or the error, its line in front, of one
// for which there is no such form.
func rewrite(chunk []ast.Stmt, reassigned map[string]bool, spellsLen bool) ([]ast.Stmt, error) {
	r := rewriter{reassigned: reassigned, spellsLen: spellsLen}
	chunk = r.block(chunk)
	return chunk, r.err
}

func (r *rewriter) declare(names ...string) {
	for _, name := range names {
		r.locals[len(r.locals)-1][name] = true
	}
}

func (r *rewriter) isLocal(e ast.Expr) bool {
	ident, ok := e.(*ast.IdentExpr)
	for i := 0; ok && i < len(r.locals); i++ {
		if r.locals[i][ident.Value] {
			return true
		}
	}
	return false
}

// block rewrites a block whose first locals have these names.
func (r *rewriter) block(stmts []ast.Stmt, names ...string) []ast.Stmt {
	return r.blockThen(stmts, names, func() {})
}

// blockThen rewrites a block, and then something else in its scope.
func (r *rewriter) blockThen(stmts []ast.Stmt, names []string, then func()) []ast.Stmt {
	r.locals = append(r.locals, map[string]bool{})
	r.declare(names...)
	functions, breaks := r.functions, 0
	if r.loop != nil {
		r.loop.depth++
		breaks = r.loop.breaks
	}
	var rewritten []ast.Stmt
	for _, stmt := range stmts {
		rewritten = append(rewritten, r.statement(stmt))
	}
	then()
	if r.loop != nil {
		r.loop.depth--
		declares := len(r.locals[len(r.locals)-1]) > 0
		if r.loop.depth > 0 && declares && r.functions > functions && r.loop.breaks > breaks {
			r.loop.leaves = true
		}
	}
	r.locals = r.locals[:len(r.locals)-1]
	return rewritten
}

func (r *rewriter) function(f *ast.FunctionExpr, names ...string) {
	locals, loop := r.locals, r.loop
	r.locals, r.loop = nil, nil
	names = append(names, f.ParList.Names...)
	if f.ParList.HasVargs {
		names = append(names, "arg")
	}
	f.Stmts = r.block(f.Stmts, names...)
	r.locals, r.loop = locals, loop
	r.functions++
}

// body rewrites the body of a loop.
func (r *rewriter) body(line int, stmts []ast.Stmt, names []string, then func()) []ast.Stmt {
	outer := r.loop
	r.loop = &loopState{}
	stmts = r.blockThen(stmts, names, then)
	if r.loop.leaves {
		// A break ends the life of an inner block's locals only if a function
		// uses one of the loop's own block.
		name := at(line, &ast.IdentExpr{Value: "(captured)"})
		self := at(line, &ast.FunctionExpr{ParList: &ast.ParList{}, Stmts: []ast.Stmt{
			at(line, &ast.ReturnStmt{Exprs: []ast.Expr{name}}),
		}})
		local := at(line, &ast.LocalAssignStmt{Names: []string{name.Value}, Exprs: []ast.Expr{self}})
		stmts = append([]ast.Stmt{local}, stmts...)
	}
	r.loop = outer
	if len(stmts) > 0 && mayBeginWithJump(stmts[0]) {
		// A jump back to a jump goes astray: something else must come first.
		local := at(line, &ast.LocalAssignStmt{Names: []string{"(first)"}})
		stmts = append([]ast.Stmt{at(line, &ast.DoBlockStmt{Stmts: []ast.Stmt{local}})}, stmts...)
	}
	return stmts
}

func mayBeginWithJump(stmt ast.Stmt) bool {
	switch stmt := stmt.(type) {
	case *ast.BreakStmt, *ast.DoBlockStmt, *ast.RepeatStmt:
		return true
	case *ast.WhileStmt:
		_, constant := truth(stmt.Condition)
		return constant
	case *ast.IfStmt:
		_, constant := truth(stmt.Condition)
		return constant
	}
	return false
}

func (r *rewriter) statement(stmt ast.Stmt) ast.Stmt {
	line := stmt.Line()
	switch stmt := stmt.(type) {
	case *ast.AssignStmt:
		expressionsOf(stmt, r.expression)
		return r.assignment(stmt)
	case *ast.LocalAssignStmt:
		if f, ok := soleFunction(stmt); ok {
			if stmt.LastLine() == 0 { // local f = function, unlike local function f, does not see itself
				stmt.Exprs = append(stmt.Exprs, at(line, &ast.NilExpr{}))
			} else {
				r.declare(stmt.Names...)
			}
			r.function(f)
		} else {
			expressionsOf(stmt, r.expression)
		}
		r.declare(stmt.Names...)
	case *ast.FuncDefStmt:
		if stmt.Name.Func == nil {
			r.function(stmt.Func, "self")
		} else {
			r.function(stmt.Func)
		}
	case *ast.WhileStmt:
		r.condition(&stmt.Condition)
		stmt.Stmts = r.body(line, stmt.Stmts, nil, func() {})
	case *ast.RepeatStmt:
		stmt.Stmts = r.body(line, stmt.Stmts, nil, func() { r.condition(&stmt.Condition) })
	case *ast.IfStmt:
		r.condition(&stmt.Condition)
		stmt.Then, stmt.Else = r.block(stmt.Then), r.block(stmt.Else)
	case *ast.NumberForStmt:
		expressionsOf(stmt, r.expression)
		stmt.Stmts = r.body(line, stmt.Stmts, []string{stmt.Name}, func() {})
		return withBounds(stmt)
	case *ast.GenericForStmt:
		expressionsOf(stmt, r.expression)
		stmt.Stmts = r.body(line, stmt.Stmts, stmt.Names, func() {})
		return withGenerator(stmt)
	case *ast.DoBlockStmt:
		stmt.Stmts = r.block(stmt.Stmts)
	case *ast.BreakStmt:
		r.loop.breaks++
	default:
		expressionsOf(stmt, r.expression)
	}
	return stmt
}

func soleFunction(stmt *ast.LocalAssignStmt) (*ast.FunctionExpr, bool) {
	if len(stmt.Names) != 1 || len(stmt.Exprs) != 1 {
		return nil, false
	}
	f, ok := stmt.Exprs[0].(*ast.FunctionExpr)
	return f, ok
}

// condition rewrites a condition. A false constant would become a bare jump, to
// which a jump back may lead.
func (r *rewriter) condition(place *ast.Expr) {
	r.expression(place)
	if value, constant := truth(*place); constant && !value {
		line := (*place).Line()
		*place = at(line, &ast.UnaryNotOpExpr{Expr: at(line, &ast.TrueExpr{})})
	}
}

func (r *rewriter) expression(place *ast.Expr) {
	if f, ok := (*place).(*ast.FunctionExpr); ok {
		r.function(f)
		return
	}
	chosen := hasConstantChoice(*place)
	expressionsOf(*place, r.expression)
	switch e := (*place).(type) {
	case *ast.UnaryMinusOpExpr:
		if chosen { // a zero among the constants has no sign
			*place = single(markedCall(e.Line(), minusMark, single(e.Expr)))
		}
	case *ast.LogicalOpExpr:
		if left, constant := truth(e.Lhs); constant && left == (e.Operator == "and") {
			*place = single(e.Rhs)
		} else if constant {
			*place = e.Lhs
		}
	case *ast.UnaryNotOpExpr:
		if value, constant := truth(e.Expr); constant && value {
			*place = at(e.Line(), &ast.FalseExpr{})
		} else if constant {
			*place = at(e.Line(), &ast.TrueExpr{})
		}
	case *ast.TableExpr:
		*place = r.constructor(e)
	case *ast.ArithmeticOpExpr:
		*place = r.arithmetic(e)
	case *ast.UnaryLenOpExpr:
		if r.spellsLen {
			*place = single(markedCall(e.Line(), lengthMark, single(e.Expr)))
		}
	}
}

// truth returns whether a constant counts as true.
func truth(e ast.Expr) (value, constant bool) {
	switch e.(type) {
	case *ast.TrueExpr, *ast.NumberExpr, *ast.StringExpr:
		return true, true
	case *ast.FalseExpr, *ast.NilExpr:
		return false, true
	}
	return false, false
}

// single makes an expression have one value wherever it stands.
func single(e ast.Expr) ast.Expr { return adjusted(e, true) }

// multiple makes an expression have as many values as its place wants.
func multiple(e ast.Expr) ast.Expr { return adjusted(e, false) }

func adjusted(e ast.Expr, single bool) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = single
	case *ast.Comma3Expr:
		e.AdjustRet = single
	}
	return e
}

func isMultiple(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		return !e.AdjustRet
	case *ast.Comma3Expr:
		return !e.AdjustRet
	}
	return false
}

// assignment evaluates all that an assignment needs before it assigns, as Lua
// 5.1 does.
func (r *rewriter) assignment(stmt *ast.AssignStmt) ast.Stmt {
	held := at(stmt.Line(), &ast.LocalAssignStmt{})
	hold := func(place *ast.Expr) {
		name := at((*place).Line(), &ast.IdentExpr{Value: fmt.Sprintf("(held %d)", len(held.Names)+1)})
		held.Names, held.Exprs = append(held.Names, name.Value), append(held.Exprs, *place)
		*place = name
	}
	// The value of a logical expression may get lost on the way to a local variable.
	_, isLogical := stmt.Rhs[0].(*ast.LogicalOpExpr)
	if len(stmt.Lhs) == 1 && len(stmt.Rhs) == 1 && !(isLogical && r.isLocal(stmt.Lhs[0])) {
		// In parentheses a call, or ..., would destroy the variables beside the one that gets its value.
		stmt.Rhs[0] = multiple(stmt.Rhs[0])
		field, ok := stmt.Lhs[0].(*ast.AttrGetExpr)
		switch {
		case !ok:
			return stmt
		case r.changes(field.Key, stmt.Rhs[0]):
			// gopher-lua would take a key as it is before the value is evaluated.
			if !r.isLocal(field.Object) {
				hold(&field.Object)
			}
			hold(&stmt.Rhs[0])
			return at(stmt.Line(), &ast.DoBlockStmt{Stmts: []ast.Stmt{held, stmt}})
		}
		// A constant that is indexed would be taken for a register.
		if _, constant := truth(field.Object); !constant && !isArithmetic(field.Object) {
			return stmt
		}
		hold(&field.Object)
		return at(stmt.Line(), &ast.DoBlockStmt{Stmts: []ast.Stmt{held, stmt}})
	}
	var inUse []*ast.Expr // local variables by which a target is found
	for _, target := range stmt.Lhs {
		if field, ok := target.(*ast.AttrGetExpr); ok {
			for _, part := range []*ast.Expr{&field.Object, &field.Key} {
				_, constant := truth(*part)
				switch {
				case r.isLocal(*part):
					inUse = append(inUse, part)
				case !constant || part == &field.Object:
					hold(part)
				}
			}
		}
		for _, part := range inUse {
			if sameName(*part, target) {
				hold(part)
			}
		}
	}
	values := at(stmt.Line(), &ast.LocalAssignStmt{Exprs: stmt.Rhs})
	stmts := []ast.Stmt{held, values}
	if len(held.Names) == 0 {
		stmts = stmts[1:]
	}
	for i := range stmt.Lhs {
		values.Names = append(values.Names, fmt.Sprintf("(value %d)", i+1))
	}
	for i := len(stmt.Lhs) - 1; i >= 0; i-- {
		line := stmt.Lhs[i].Line()
		value := at(line, &ast.IdentExpr{Value: values.Names[i]})
		stmts = append(stmts, at(line, &ast.AssignStmt{Lhs: stmt.Lhs[i : i+1], Rhs: []ast.Expr{value}}))
	}
	return at(stmt.Line(), &ast.DoBlockStmt{Stmts: stmts})
}

func sameName(a, b ast.Expr) bool {
	x, ok := a.(*ast.IdentExpr)
	y, ok2 := b.(*ast.IdentExpr)
	return ok && ok2 && x.Value == y.Value
}

// withNames puts a loop into a block with locals that have the values, and
// returns the locals too.
func withNames(loop ast.Stmt, names []string, values ...ast.Expr) (ast.Stmt, []ast.Expr) {
	line := loop.Line()
	var idents []ast.Expr
	for _, name := range names {
		idents = append(idents, at(line, &ast.IdentExpr{Value: name}))
	}
	local := at(line, &ast.LocalAssignStmt{Names: names, Exprs: values})
	return at(line, &ast.DoBlockStmt{Stmts: []ast.Stmt{local, loop}}), idents
}

// withBounds lets the bounds of a loop be strings that read as numbers.
func withBounds(stmt *ast.NumberForStmt) ast.Stmt {
	sure := func(e ast.Expr) bool { return e == nil || isNumber(e) || isArithmetic(e) }
	if sure(stmt.Init) && sure(stmt.Limit) && sure(stmt.Step) {
		return stmt
	}
	if stmt.Step == nil {
		stmt.Step = numberNode(stmt.Line(), 1)
	}
	call := markedCall(stmt.Line(), boundsMark, stmt.Init, stmt.Limit, stmt.Step)
	block, bounds := withNames(stmt, []string{"(from)", "(to)", "(by)"}, call)
	stmt.Init, stmt.Limit, stmt.Step = bounds[0], bounds[1], bounds[2]
	return block
}

// withGenerator gives a loop the three values that it needs. gopher-lua takes
// what is missing from whatever was there before.
func withGenerator(stmt *ast.GenericForStmt) ast.Stmt {
	if len(stmt.Exprs) == 1 && isMultiple(stmt.Exprs[0]) {
		return stmt
	}
	block, three := withNames(stmt, []string{"(generator)", "(state)", "(control)"}, stmt.Exprs...)
	stmt.Exprs = three
	return block
}
