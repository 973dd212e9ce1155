package luatest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// Coverage records which lines and branches of scripts have run on the engines that it
// was passed to with Engine.SetCoverage. It is safe for concurrent use.
type Coverage struct {
	mu      sync.Mutex
	scripts map[string]*covered
}

// covered is what is known of one script.
type covered struct {
	file   string
	source string
	points []point
	counts []count
}

// ScriptCoverage is the coverage of one script.
type ScriptCoverage struct {
	SHA1     string
	File     string // its name, if AddFiles was given it
	Source   string
	Lines    []LineCount   // the lines on which a statement begins, in order
	Branches []BranchCount // by line
}

// LineCount reports how often the first statement of a line has run.
type LineCount struct {
	Line  int
	Count int
}

// BranchCount reports how often a script took one branch.
type BranchCount struct {
	Line int
	// Branch is what decides, a condition or an operand of one in the script's
	// words, and the way it went: "#KEYS < 3: true". Of a loop it is "for i:
	// entered" or "for i: skipped", of a function "function f: called".
	Branch string
	Count  int
}

// NewCoverage returns an empty Coverage.
func NewCoverage() *Coverage {
	return &Coverage{scripts: map[string]*covered{}}
}

// SetCoverage makes the engine report to c which parts of each script run. A nil c ends
// that. Scripts behave the same but take several times as long.
//
// The engine counts the branches of conditions, with each operand of and and or in them;
// of comparisons and the left operands of and and or anywhere; of for loops, which may be
// skipped; and of functions.
func (e *Engine) SetCoverage(c *Coverage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.coverage = c
	e.instrumented = nil
}

// Scripts returns the coverage so far of each script that has run or that AddFiles
// added, sorted by file and SHA-1.
func (c *Coverage) Scripts() []ScriptCoverage {
	c.mu.Lock()
	defer c.mu.Unlock()
	var scripts []ScriptCoverage
	for digest, one := range c.scripts {
		scripts = append(scripts, one.report(digest))
	}
	slices.SortFunc(scripts, func(a, b ScriptCoverage) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.SHA1, b.SHA1))
	})
	return scripts
}

// UncoveredLines returns the lines that have not run.
func (s ScriptCoverage) UncoveredLines() []int {
	var lines []int
	for _, line := range s.Lines {
		if line.Count == 0 {
			lines = append(lines, line.Line)
		}
	}
	return lines
}

// UncoveredBranches returns the branches that were never taken.
func (s ScriptCoverage) UncoveredBranches() []BranchCount {
	var branches []BranchCount
	for _, branch := range s.Branches {
		if branch.Count == 0 {
			branches = append(branches, branch)
		}
	}
	return branches
}

// Listing returns the source with the number and count of each line. It marks lines that
// have not run with "!" and lists branches that were never taken after their line.
func (s ScriptCoverage) Listing() string {
	var b strings.Builder
	lines, uncovered := s.Lines, s.UncoveredBranches()
	for i, text := range strings.Split(strings.TrimSuffix(s.Source, "\n"), "\n") {
		mark, times := " ", ""
		if len(lines) > 0 && lines[0].Line == i+1 {
			times = fmt.Sprint(lines[0].Count)
			if lines[0].Count == 0 {
				mark = "!"
			}
			lines = lines[1:]
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s %8s %5d  %s", mark, times, i+1, text), " ") + "\n")
		for ; len(uncovered) > 0 && uncovered[0].Line == i+1; uncovered = uncovered[1:] {
			fmt.Fprintf(&b, "! %16snever  %s\n", "", uncovered[0].Branch)
		}
	}
	return b.String()
}

func (c *Coverage) add(s *script, counts []count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.scripts[s.digest]
	if one == nil {
		one = newCovered("", s)
		c.scripts[s.digest] = one
	}
	for i, n := range counts {
		one.counts[i][0] += n[0]
		one.counts[i][1] += n[1]
	}
}

func newCovered(file string, s *script) *covered {
	return &covered{file, s.source, s.points, make([]count, len(s.points))}
}

func (c *covered) report(digest string) ScriptCoverage {
	report := ScriptCoverage{SHA1: digest, File: c.file, Source: c.source}
	lines := map[int]bool{}
	for i, p := range c.points {
		if p.ways == nil && !lines[p.line] {
			lines[p.line] = true
			report.Lines = append(report.Lines, LineCount{p.line, c.counts[i][0]})
		}
		for way, name := range p.ways {
			report.Branches = append(report.Branches, BranchCount{p.line, p.text + ": " + name, c.counts[i][way]})
		}
	}
	slices.SortFunc(report.Lines, func(a, b LineCount) int { return cmp.Compare(a.Line, b.Line) })
	slices.SortStableFunc(report.Branches, func(a, b BranchCount) int { return cmp.Compare(a.Line, b.Line) })
	return report
}

// point is a place in a script that is counted: a statement, which has no ways,
// or something that decides.
type point struct {
	line int
	text string
	ways []string
}

// count is how often a point was passed, by way.
type count [2]int

var (
	truths = []string{"true", "false"}
	loops  = []string{"entered", "skipped"}
	calls  = []string{"called"}
)

// coverFunction counts a point: coverFunction(number, value) returns the value,
// and whether it is true says which way was taken.
const coverFunction = "(cover)"

// coverer puts calls of coverFunction into a syntax tree.
type coverer struct{ points []point }

func (c *coverer) add(p point, value ...ast.Expr) *ast.FuncCallExpr {
	c.points = append(c.points, p)
	return callOf(p.line, coverFunction, append([]ast.Expr{numberNode(p.line, len(c.points))}, value...)...)
}

// passed is a statement that counts a point's first way.
func (c *coverer) passed(p point) ast.Stmt {
	return at(p.line, &ast.FuncCallStmt{Expr: c.add(p, at(p.line, &ast.TrueExpr{}))})
}

func (c *coverer) block(stmts []ast.Stmt) []ast.Stmt {
	var counted []ast.Stmt
	for _, stmt := range stmts {
		counted = append(counted, c.passed(point{line: stmt.Line()}), c.statement(stmt))
	}
	return counted
}

func (c *coverer) statement(stmt ast.Stmt) ast.Stmt {
	switch stmt := stmt.(type) {
	case *ast.IfStmt:
		c.condition(&stmt.Condition)
		stmt.Then, stmt.Else = c.block(stmt.Then), c.block(stmt.Else)
	case *ast.WhileStmt:
		c.condition(&stmt.Condition)
		stmt.Stmts = c.block(stmt.Stmts)
	case *ast.RepeatStmt:
		stmt.Stmts = c.block(stmt.Stmts)
		c.condition(&stmt.Condition)
	case *ast.NumberForStmt:
		expressionsOf(stmt, c.value)
		ways := loops
		if isNumber(stmt.Init) && isNumber(stmt.Limit) {
			ways = loops[:1]
		}
		return c.loop(stmt, &stmt.Stmts, point{stmt.Line(), "for " + stmt.Name, ways})
	case *ast.GenericForStmt:
		expressionsOf(stmt, c.value)
		ways := loops
		if isListOfConstants(stmt.Exprs) {
			ways = loops[:1]
		}
		return c.loop(stmt, &stmt.Stmts, point{stmt.Line(), "for " + strings.Join(stmt.Names, ", "), ways})
	case *ast.LocalAssignStmt:
		for i := range stmt.Exprs {
			if f, ok := stmt.Exprs[i].(*ast.FunctionExpr); ok && i < len(stmt.Names) {
				c.function(f, " "+stmt.Names[i])
			} else {
				c.value(&stmt.Exprs[i])
			}
		}
	case *ast.FuncDefStmt:
		if stmt.Name.Func != nil {
			c.function(stmt.Func, " "+sourceOf(stmt.Name.Func))
		} else {
			c.function(stmt.Func, " "+sourceOf(stmt.Name.Receiver)+":"+stmt.Name.Method)
		}
	default:
		expressionsOf(stmt, c.value)
		blocksOf(stmt, func(block *[]ast.Stmt, _ []string) { *block = c.block(*block) })
	}
	return stmt
}

func (c *coverer) function(f *ast.FunctionExpr, name string) {
	called := c.passed(point{f.Line(), "function" + name, calls})
	f.Stmts = append([]ast.Stmt{called}, c.block(f.Stmts)...)
}

// loop counts how often the body of a loop is entered, and, with a local
// variable around the loop, how often the loop ends without that.
func (c *coverer) loop(stmt ast.Stmt, body *[]ast.Stmt, p point) ast.Stmt {
	enter := c.passed(p)
	number := len(c.points)
	if len(p.ways) == 1 {
		*body = append([]ast.Stmt{enter}, c.block(*body)...)
		return stmt
	}
	line := p.line
	entered := func() ast.Expr { return at(line, &ast.IdentExpr{Value: "(entered)"}) }
	set := at(line, &ast.AssignStmt{Lhs: []ast.Expr{entered()}, Rhs: []ast.Expr{at(line, &ast.TrueExpr{})}})
	*body = append([]ast.Stmt{enter, set}, c.block(*body)...)
	skip := callOf(line, coverFunction, numberNode(line, number), at(line, &ast.FalseExpr{}))
	return at(line, &ast.DoBlockStmt{Stmts: []ast.Stmt{
		at(line, &ast.LocalAssignStmt{Names: []string{"(entered)"}, Exprs: []ast.Expr{at(line, &ast.FalseExpr{})}}),
		stmt,
		at(line, &ast.IfStmt{
			Condition: at(line, &ast.UnaryNotOpExpr{Expr: entered()}),
			Then:      []ast.Stmt{at(line, &ast.FuncCallStmt{Expr: skip})},
		}),
	}})
}

// condition counts which way an expression sends the script on.
func (c *coverer) condition(place *ast.Expr) {
	switch e := (*place).(type) {
	case *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr, *ast.NumberExpr, *ast.StringExpr,
		*ast.StringConcatOpExpr, *ast.ArithmeticOpExpr, *ast.UnaryMinusOpExpr, *ast.UnaryLenOpExpr,
		*ast.TableExpr, *ast.FunctionExpr:
		c.value(place) // there is but one way
	case *ast.LogicalOpExpr:
		c.condition(&e.Lhs)
		c.condition(&e.Rhs)
	case *ast.UnaryNotOpExpr:
		c.condition(&e.Expr)
	default:
		p := point{e.Line(), sourceOf(e), truths}
		expressionsOf(e, c.value)
		*place = c.add(p, e)
	}
}

// value counts what decides within an expression that is there for its value.
func (c *coverer) value(place *ast.Expr) {
	switch e := (*place).(type) {
	case *ast.LogicalOpExpr:
		c.condition(&e.Lhs)
		c.value(&e.Rhs)
	case *ast.UnaryNotOpExpr, *ast.RelationalOpExpr:
		c.condition(place)
	case *ast.FunctionExpr:
		c.function(e, "")
	default:
		expressionsOf(e, c.value)
	}
}

func isNumber(e ast.Expr) bool {
	_, ok := e.(*ast.NumberExpr)
	return ok
}

// isListOfConstants tells whether a loop is over ipairs of a table that is
// written out, and so is never skipped.
func isListOfConstants(exprs []ast.Expr) bool {
	call, ok := exprs[0].(*ast.FuncCallExpr)
	if !ok || len(call.Args) != 1 || call.Func == nil || sourceOf(call.Func) != "ipairs" {
		return false
	}
	table, ok := call.Args[0].(*ast.TableExpr)
	if !ok || len(table.Fields) == 0 || table.Fields[0].Key != nil {
		return false
	}
	switch table.Fields[0].Value.(type) {
	case *ast.NumberExpr, *ast.StringExpr, *ast.TrueExpr:
		return true
	}
	return false
}

// luaCover is coverFunction.
func (s *sandbox) luaCover(l *lua.LState) int {
	value := l.Get(2)
	way := 0
	if lua.LVIsFalse(value) {
		way = 1
	}
	s.counts[int(l.Get(1).(lua.LNumber))-1][way]++
	l.Push(value)
	return 1
}
