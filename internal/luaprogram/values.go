package luaprogram

import (
	"fmt"
	"strings"
)

// value draws an expression that is meant to be of a kind.
func (g *generator) value(of kind) *Tree {
	g.size--
	if g.size < 0 || g.one(4) {
		if name := g.variable(of); name != "" {
			return word(name)
		}
	}
	if g.size < 0 {
		return g.constant(of)
	}
	if g.one(12) {
		return g.decided(of)
	}
	switch of {
	case aNumber:
		return g.number()
	case aString:
		return g.string()
	case aTable:
		return g.table()
	case aFunction:
		return g.functionValue()
	case anObject:
		return g.object()
	}
	return g.any()
}

func (g *generator) constant(of kind) *Tree {
	switch of {
	case aNumber:
		return expression('9', g.pick("0", "1", "2", "3", "7", "10", "0x1F", "1e2", ".5", "3.", "1E-2", "08", "1.5e+1",
			"4294967296", "9007199254740993", "1e15", "1e100"))
	case aString:
		return expression('9', g.pick(`'a'`, `"b"`, `''`, `'10'`, `'0x10'`, `' 2 '`, `'1e1'`, `[[long]]`, `[==[ ]] ]==]`,
			`'\065\10\\'`, `"it's"`, `'a"b'`, `'\q\0z'`, `'E1'`, "--[[c]]'c'", "--[==[ ]] ]==]'d'", `'-0'`))
	case aTable:
		return expression('9', "{}")
	case aFunction:
		return word(g.pick("type", "tostring", "select", "rawequal", "math.max"))
	case anObject:
		return expression('p', "setmetatable({}, {})")
	}
	return expression('9', g.pick("nil", "true", "false", "1", "'x'", "2"))
}

// decided draws an expression that chooses between values.
func (g *generator) decided(of kind) *Tree {
	switch g.r.IntN(6) {
	case 0:
		return expression('1', "$1 or $2", g.value(of), g.value(of))
	case 1:
		return expression('2', "$2 and $3", g.value(anything), g.value(of))
	case 2:
		return expression('1', "$2 and $3 or $2", g.truth(), g.value(of), g.value(of))
	case 3:
		return expression('1', "$1 or $2", expression('9', g.pick("nil", "false", "0")), g.value(of))
	case 4:
		return expression('2', "$2 and $3", expression('9', g.pick("nil", "false", "true", "'a'")), g.value(of))
	}
	return expression('p', "($0)", g.value(of))
}

func (g *generator) number() *Tree {
	switch g.r.IntN(12) {
	case 0, 1:
		operator := g.pick("+", "-")
		return expression('5', "$5 "+operator+" $6", g.value(aNumber), g.value(aNumber))
	case 2, 3:
		if g.one(3) {
			// An infinity would show the sign of a zero, which gopher-lua may have lost.
			return expression('6', "$6 / $7", g.value(aNumber), g.constant(aNumber))
		}
		return expression('6', "$6 "+g.pick("*", "%")+" $7", g.value(aNumber), g.value(aNumber))
	case 4:
		return expression('8', "$9 ^ $7", g.value(aNumber), expression('9', g.pick("2", "0.5", "3", "1", "0")))
	case 5:
		return expression('7', "- $7", g.value(aNumber))
	case 6:
		return expression('7', "#$7", g.value(aString))
	case 7:
		return expression('5', g.pick("$5 + 1", "1 - $6"), expression('9', g.pick("'10'", "'0x10'", "' 3 '", "'1e1'", "'z'")))
	case 8:
		return expression('p', "select('#', $s)", g.list(1+g.r.IntN(3)))
	case 9:
		return expression('p', g.pick("(tonumber($0) or 1)", "math.floor($0)", "math.abs($0)"), g.value(aNumber))
	case 10:
		if t := g.variable(aTable); t != "" {
			return expression('1', "(whole("+t+") and #"+t+" or $2)", g.value(aNumber))
		}
	}
	return g.constant(aNumber)
}

func (g *generator) string() *Tree {
	switch g.r.IntN(10) {
	case 0, 1, 2:
		if g.repeated {
			return expression('4', "$5 .. short($0)", g.constant(aString), g.value(aString))
		}
		if g.one(3) {
			return expression('4', "$5 .. $4", g.constant(aNumber), g.value(aString))
		}
		return expression('4', "$5 .. $4", g.value(aString), g.value(aString))
	case 3:
		return expression('p', "tostring($0)", g.value(aNumber))
	case 4:
		return expression('p', "$p:"+g.pick("upper()", "sub(2)", "sub(-2, -1)", "rep(2)", "reverse()", "len()",
			"gsub('%a', '%0.')", "find('[ab]')", "byte(1, 3)", "format(1)"), g.constant(aString))
	case 5:
		return expression('p', "('%d %s'):format($0, $0)", g.value(aNumber), g.value(aString))
	case 6:
		return expression('p', "type($0)", g.value(anything))
	case 7:
		return expression('p', "table.concat({short($0), $0}, $0)",
			g.value(aString), g.constant(aNumber), g.constant(aString))
	}
	return g.constant(aString)
}

func (g *generator) oneOf(of ...kind) kind { return of[g.r.IntN(len(of))] }

func (g *generator) table() *Tree {
	var fields []string
	var parts []*Tree
	n := g.r.IntN(5)
	for i := range n {
		switch {
		case i == n-1 && g.one(3):
			fields, parts = append(fields, "$0"), append(parts, g.several())
		case g.one(3):
			fields, parts = append(fields, g.pick("a", "b", "goto")+" = $0"), append(parts, g.value(g.anyKind()))
		case g.one(6):
			fields, parts = append(fields, "[$0] = $0"), append(parts, g.key(), g.value(anything))
		default:
			// An item that is nil would leave the length open.
			fields, parts = append(fields, "$0"), append(parts, g.value(g.oneOf(aNumber, aString, aTable)))
		}
	}
	return expression('9', "{"+strings.Join(fields, g.pick(", ", "; "))+"}", parts...)
}

func (g *generator) functionValue() *Tree {
	f := expression('9', "function$s", g.body(" "))
	f.oneLine = true
	return f
}

// body draws the parameters and the block of a function.
func (g *generator) body(space string) *Tree {
	outer := *g
	var names []string
	for range g.r.IntN(4) {
		names = append(names, g.newName(g.anyKind()))
	}
	g.varargs, g.loops, g.repeated = g.one(3), 0, true
	parameters := strings.Join(names, ", ")
	if g.varargs {
		parameters = strings.TrimPrefix(parameters+", ...", ", ")
	}
	counted := "tick()"
	if g.one(4) {
		counted = "if tick() then return end"
	}
	statements := g.statements(g.r.IntN(4), names...)
	result := statement("")
	if !g.one(4) {
		result = statement("do return $s end ", g.result(names))
	}
	g.varargs, g.loops, g.repeated = outer.varargs, outer.loops, outer.repeated
	return statement(fmt.Sprintf("(%s) %s%s$s$send", parameters, counted, space), statements, result)
}

// result draws what a function returns: at times a tail call.
func (g *generator) result(names []string) *Tree {
	g.names = append(g.names, names)
	defer func() { g.names = g.names[:len(g.names)-1] }()
	switch g.r.IntN(4) {
	case 0:
		return g.several()
	case 1:
		return statement("coroutine.yield($s)", g.list(g.r.IntN(3)))
	}
	return g.list(g.r.IntN(4))
}

var events = strings.Fields("add sub mul div mod pow unm concat eq lt le call index newindex")

func (g *generator) object() *Tree {
	text, parts := "setmetatable({m = $0, $s}, {", []*Tree{g.value(aFunction), g.list(g.r.IntN(2))}
	for _, event := range events {
		switch {
		case event == "index" && g.one(4):
			text, parts = text+"__index = $0, ", append(parts, g.value(aTable))
		case g.one(3):
			text, parts = text+"__"+event+" = $0, ", append(parts, g.value(aFunction))
		}
	}
	return expression('p', text+"})", parts...)
}

// truth draws a comparison, or several with and, or and not.
func (g *generator) truth() *Tree {
	switch g.r.IntN(7) {
	case 0, 1:
		operator := g.pick("<", "<=", ">", ">=", "==", "~=")
		return expression('3', "$3 "+operator+" $4", g.value(aNumber), g.value(aNumber))
	case 2:
		operator := g.pick("<", "<=", "==")
		return expression('3', "$3 "+operator+" $4", g.value(aString), g.value(aString))
	case 3:
		return expression('3', "$3 "+g.pick("==", "~=")+" $4", g.value(anything), g.value(g.anyKind()))
	case 4:
		return expression('7', "not $7", g.condition())
	case 5:
		return expression('2', "$2 and $3", g.condition(), g.condition())
	}
	return expression('1', "$1 or $2", g.condition(), g.condition())
}

func (g *generator) any() *Tree {
	switch g.r.IntN(12) {
	case 0:
		return g.truth()
	case 1:
		return g.several()
	case 2:
		return expression('p', "($0)", g.several())
	case 3, 4:
		if t := g.variable(aTable); t != "" {
			return g.field(word(t))
		}
	case 5, 6:
		if o := g.variable(anObject); o != "" {
			return g.operation(o)
		}
	case 7:
		return g.decided(g.anyKind())
	case 8:
		return expression('p', "coroutine.yield($s)", g.list(g.r.IntN(3)))
	case 9:
		return expression('p', "$p:m($s)", expression('9', "{m = $0}", g.value(aFunction)), g.list(g.r.IntN(3)))
	case 10:
		if g.varargs {
			return expression('9', "{...}")
		}
	}
	return g.value(g.oneOf(aNumber, aString, aTable, aFunction))
}

// operation draws what metamethods are for.
func (g *generator) operation(o string) *Tree {
	a, b := word(o), g.value(g.oneOf(anObject, aNumber, aString))
	if g.one(3) {
		a, b = b, a
	}
	switch g.r.IntN(7) {
	case 0:
		return expression('5', "$5 "+g.pick("+", "-")+" $6", a, b)
	case 1:
		return expression('6', "$6 "+g.pick("*", "/", "%")+" $7", a, b)
	case 2:
		return expression('8', "$9 ^ $7", a, b)
	case 3:
		return expression('7', "- $7", word(o))
	case 4:
		return expression('4', "$5 .. $4", a, b)
	case 5:
		return expression('3', "$3 "+g.pick("<", "<=", ">", ">=", "==", "~=")+" $4", a, b)
	}
	return g.field(word(o))
}
