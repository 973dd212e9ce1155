package luatest

import (
	"fmt"
	"slices"
)

// Limits of Lua 5.1 on one function and on the nesting of its source.
const (
	maxLocals   = 200
	maxUpvalues = 60
	maxLevels   = 200
)

// grammar decides whether Lua 5.1 compiles a chunk: gopher-lua takes more. It
// reads as Lua's own compiler does, so that it meets the same error first.
type grammar struct {
	lexer    lexer
	current  token
	ahead    *token // of a constructor, where a name may be a key
	lastLine int    // of the token before the current one
	levels   int    // of blocks and expressions
	function *functionScope
	target   string // the last primary expression, if it is a name

	reassigned map[string]bool // names of local variables that an inner function assigns to
}

// functionScope is the function that is being read.
type functionScope struct {
	outer    *functionScope
	line     int // 0 for the chunk itself
	varargs  bool
	locals   []*string // the names in scope
	pending  []*string // the names that a statement declares for those after it
	upvalues []*string // places of outer functions' locals
	loops    int
}

// checkGrammar returns the error with which Lua 5.1 refuses a chunk, its line
// in front, or the names of the local variables that inner functions assign to.
// A chunk that a script loads begins with some levels.
func checkGrammar(source string, levels int) (reassigned map[string]bool, err error) {
	g := &grammar{lexer: lexer{source: source, line: 1}, levels: levels, reassigned: map[string]bool{}}
	g.function = &functionScope{varargs: true}
	defer func() {
		if failed := recover(); failed != nil {
			err = failed.(syntaxError)
		}
	}()
	g.next()
	g.block()
	g.require(endToken)
	return g.reassigned, nil
}

func (g *grammar) next() {
	g.lastLine = g.lexer.line
	if g.ahead != nil {
		g.current, g.ahead = *g.ahead, nil
		return
	}
	g.current = g.lexer.next()
}

func (g *grammar) fail(problem string) { g.lexer.fail(problem, g.current.shown()) }

func (g *grammar) is(kinds ...string) bool { return slices.Contains(kinds, g.current.kind) }

func (g *grammar) accept(kind string) bool {
	if !g.is(kind) {
		return false
	}
	g.next()
	return true
}

func (g *grammar) require(kind string) {
	if !g.is(kind) {
		g.fail("'" + kind + "' expected")
	}
}

func (g *grammar) expect(kind string) {
	g.require(kind)
	g.next()
}

// expectEnd expects what ends something that opened on a line.
func (g *grammar) expectEnd(kind, opened string, line int) {
	if !g.is(kind) && line != g.lexer.line {
		g.fail(fmt.Sprintf("'%s' expected (to close '%s' at line %d)", kind, opened, line))
	}
	g.expect(kind)
}

func (g *grammar) name() string {
	g.require(nameToken)
	name := g.current.text
	g.next()
	return name
}

// enter goes one level down, and returns the way back.
func (g *grammar) enter() func() {
	if g.levels++; g.levels > maxLevels {
		g.lexer.fail("chunk has too many syntax levels", "")
	}
	return func() { g.levels-- }
}

// limit refuses more than a function may have of something.
func (g *grammar) limit(f *functionScope, n, most int, what string) {
	switch {
	case n <= most:
	case f.line == 0:
		g.lexer.fail(fmt.Sprintf("main function has more than %d %s", most, what), "")
	default:
		g.lexer.fail(fmt.Sprintf("function at line %d has more than %d %s", f.line, most, what), "")
	}
}

// declare makes names local from the next activate on.
func (g *grammar) declare(names ...string) {
	f := g.function
	for _, name := range names {
		g.limit(f, len(f.locals)+len(f.pending)+1, maxLocals, "local variables")
		f.pending = append(f.pending, &name)
	}
}

func (g *grammar) activate() {
	f := g.function
	f.locals, f.pending = append(f.locals, f.pending...), nil
}

// use resolves a name, which may make it an upvalue of several functions.
func (g *grammar) use(name string) { g.resolve(g.function, name) }

func (g *grammar) resolve(f *functionScope, name string) *string {
	if f == nil {
		return nil
	}
	for _, local := range slices.Backward(f.locals) {
		if *local == name {
			return local
		}
	}
	place := g.resolve(f.outer, name)
	if place != nil && !slices.Contains(f.upvalues, place) {
		g.limit(f, len(f.upvalues)+1, maxUpvalues, "upvalues")
		f.upvalues = append(f.upvalues, place)
	}
	return place
}

// assign notes a name that is assigned to.
func (g *grammar) assign(name string) {
	if place := g.resolve(g.function, name); place != nil && slices.Contains(g.function.upvalues, place) {
		g.reassigned[name] = true
	}
}

// scope reads something whose locals end with it.
func (g *grammar) scope(read func()) {
	locals := len(g.function.locals)
	read()
	g.function.locals = g.function.locals[:locals]
}

func (g *grammar) scopedBlock() { g.scope(g.block) }

func (g *grammar) loop(read func()) {
	g.function.loops++
	g.scope(read)
	g.function.loops--
}

func (g *grammar) block() {
	defer g.enter()()
	for last := false; !last && !g.blockEnds(); g.accept(";") {
		last = g.statement()
	}
}

func (g *grammar) blockEnds() bool { return g.is("else", "elseif", "end", "until", endToken) }

// statement reads a statement, and reports whether it must be a block's last.
func (g *grammar) statement() bool {
	line, kind := g.lexer.line, g.current.kind
	switch kind {
	case "if", "while", "do", "for", "repeat", "function", "local", "return", "break":
		g.next()
	default:
		g.expressionStatement()
		return false
	}
	switch kind {
	case "if":
		g.ifStatement(line)
	case "while":
		g.expression()
		g.loop(func() {
			g.expect("do")
			g.scopedBlock()
			g.expectEnd("end", "while", line)
		})
	case "do":
		g.scopedBlock()
		g.expectEnd("end", "do", line)
	case "for":
		g.loop(func() {
			g.forStatement()
			g.expectEnd("end", "for", line)
		})
	case "repeat":
		g.loop(func() {
			g.block()
			g.expectEnd("until", "repeat", line)
			g.expression()
		})
	case "function":
		g.functionStatement(line)
	case "local":
		g.localStatement()
	case "return":
		if !g.blockEnds() && !g.is(";") {
			g.expressions()
		}
		return true
	case "break":
		if g.function.loops == 0 {
			g.fail("no loop to break")
		}
		return true
	}
	return false
}

func (g *grammar) ifStatement(line int) {
	for {
		g.expression()
		g.expect("then")
		g.scopedBlock()
		if !g.accept("elseif") {
			break
		}
	}
	if g.accept("else") {
		g.scopedBlock()
	}
	g.expectEnd("end", "if", line)
}

func (g *grammar) forStatement() {
	first := g.name()
	switch {
	case g.is("="):
		g.declare("(for index)", "(for limit)", "(for step)", first)
		g.next()
		g.expression()
		g.expect(",")
		g.expression()
		if g.accept(",") {
			g.expression()
		}
	case g.is(",", "in"):
		g.declare("(for generator)", "(for state)", "(for control)", first)
		for g.accept(",") {
			g.declare(g.name())
		}
		g.expect("in")
		// The variables of the loop are declared, but no function in the list sees them.
		g.expressions()
	default:
		g.fail("'=' or 'in' expected")
	}
	g.expect("do")
	g.activate()
	g.scopedBlock()
}

func (g *grammar) functionStatement(line int) {
	name := g.name()
	g.use(name)
	if g.is("(") {
		g.assign(name)
	}
	isMethod := false
	for !isMethod && g.is(".", ":") {
		isMethod = g.is(":")
		g.next()
		g.name()
	}
	g.body(isMethod, line)
}

func (g *grammar) localStatement() {
	if g.accept("function") {
		g.declare(g.name())
		g.activate()
		g.body(false, g.lexer.line)
		return
	}
	g.declare(g.name())
	for g.accept(",") {
		g.declare(g.name())
	}
	if g.accept("=") {
		g.expressions()
	}
	g.activate()
}

func (g *grammar) expressionStatement() {
	kind := g.primary()
	if kind == called {
		return
	}
	for targets := 1; ; targets++ {
		if kind != assignable {
			g.fail("syntax error")
		}
		if g.target != "" {
			g.assign(g.target)
		}
		if !g.accept(",") {
			break
		}
		kind = g.primary()
		g.limit(g.function, targets, maxLevels-g.levels, "variables in assignment")
	}
	g.expect("=")
	g.expressions()
}
