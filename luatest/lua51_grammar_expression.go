package luatest

func (g *grammar) expressions() {
	g.expression()
	for g.accept(",") {
		g.expression()
	}
}

func (g *grammar) expression() { g.operation(0) }

// bindings has, for each operator, how it binds to the left and to the right.
var bindings = map[string][2]int{
	"or": {1, 1}, "and": {2, 2}, "<": {3, 3}, ">": {3, 3}, "<=": {3, 3}, ">=": {3, 3}, "~=": {3, 3}, "==": {3, 3},
	"..": {5, 4}, "+": {6, 6}, "-": {6, 6}, "*": {7, 7}, "/": {7, 7}, "%": {7, 7}, "^": {10, 9},
}

const unaryBinds = 8

// operation reads an expression up to an operator that binds no tighter than outer.
func (g *grammar) operation(outer int) {
	defer g.enter()()
	if g.is("not", "-", "#") {
		g.next()
		g.operation(unaryBinds)
	} else {
		g.operand()
	}
	for bindings[g.current.kind][0] > outer {
		right := bindings[g.current.kind][1]
		g.next()
		g.operation(right)
	}
}

func (g *grammar) operand() {
	switch g.current.kind {
	case numberToken, stringToken, "nil", "true", "false":
		g.next()
	case "...":
		if !g.function.varargs {
			g.fail("cannot use '...' outside a vararg function")
		}
		g.next()
	case "{":
		g.constructor()
	case "function":
		g.next()
		g.body(false, g.lexer.line)
	default:
		g.primary()
	}
}

// primaryKind says what a primary expression may be as a statement.
type primaryKind int

const (
	plain primaryKind = iota
	assignable
	called
)

func (g *grammar) primary() primaryKind {
	kind := plain
	switch line := g.lexer.line; {
	case g.accept("("):
		g.expression()
		g.expectEnd(")", "(", line)
	case g.is(nameToken):
		name := g.current.text
		g.next()
		g.use(name)
		if g.target = name; !g.is(".", "[", ":", "(", stringToken, "{") {
			return assignable
		}
		kind = assignable
	default:
		g.fail("unexpected symbol")
	}
	kind = g.suffixes(kind)
	g.target = ""
	return kind
}

func (g *grammar) suffixes(kind primaryKind) primaryKind {
	for {
		switch g.current.kind {
		case ".":
			g.next()
			g.name()
			kind = assignable
		case "[":
			g.index()
			kind = assignable
		case ":":
			g.next()
			g.name()
			g.arguments()
			kind = called
		case "(", stringToken, "{":
			g.arguments()
			kind = called
		default:
			return kind
		}
	}
}

func (g *grammar) index() {
	g.next()
	g.expression()
	g.expect("]")
}

func (g *grammar) arguments() {
	line := g.lexer.line
	switch {
	case g.is("("):
		if line != g.lastLine {
			g.fail("ambiguous syntax (function call x new statement)")
		}
		g.next()
		if !g.is(")") {
			g.expressions()
		}
		g.expectEnd(")", "(", line)
	case g.is("{"):
		g.constructor()
	case g.is(stringToken):
		g.next()
	default:
		g.fail("function arguments expected")
	}
}

func (g *grammar) constructor() {
	line := g.lexer.line
	for g.expect("{"); !g.is("}"); {
		switch {
		case g.is("["):
			g.index()
			g.expect("=")
		case g.is(nameToken):
			ahead := g.lexer.next()
			g.ahead = &ahead
			if ahead.kind == "=" {
				g.next()
				g.next()
			}
		}
		g.expression()
		if !g.accept(",") && !g.accept(";") {
			break
		}
	}
	g.expectEnd("}", "{", line)
}

func (g *grammar) body(isMethod bool, line int) {
	g.function = &functionScope{outer: g.function, line: line}
	g.expect("(")
	if isMethod {
		g.declare("self")
		g.activate()
	}
	for more := !g.is(")"); more; more = !g.function.varargs && g.accept(",") {
		switch {
		case g.is(nameToken):
			g.declare(g.name())
		case g.accept("..."):
			g.declare("arg")
			g.function.varargs = true
		default:
			g.fail("<name> or '...' expected")
		}
	}
	g.activate()
	g.expect(")")
	g.block()
	g.expectEnd("end", "function", line)
	g.function = g.function.outer
}
