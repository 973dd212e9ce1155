// Package luaprogram draws Lua programs that run on a Redis server, for tests that compare
// what they return.
package luaprogram

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// kind is what a variable is meant to hold. It is the first letter of its name.
type kind byte

const (
	aNumber   kind = 'n'
	aString   kind = 's'
	aTable    kind = 't'
	aFunction kind = 'f'
	anObject  kind = 'o' // a table with metamethods
	anything  kind = 'x'
)

var kinds = []kind{aNumber, aString, aTable, aFunction, anObject, anything}

// generator draws programs. They end: each loop that might not, and each
// function, counts a step, and there are not many.
type generator struct {
	r     *rand.Rand
	size  int        // how much more may be drawn
	names [][]string // in scope, by block
	// Of the function that is being drawn.
	varargs  bool
	loops    int
	repeated bool // in a loop or a function, where text must not grow
}

func (g *generator) one(in int) bool { return g.r.IntN(in) == 0 }

func (g *generator) pick(texts ...string) string { return texts[g.r.IntN(len(texts))] }

func (g *generator) declare(names ...string) {
	g.names[len(g.names)-1] = append(g.names[len(g.names)-1], names...)
}

// variable returns one in scope of this kind, or "".
func (g *generator) variable(of kind) string {
	var found []string
	for _, names := range g.names {
		for _, name := range names {
			if kind(name[0]) == of {
				found = append(found, name)
			}
		}
	}
	if len(found) == 0 {
		return ""
	}
	return g.pick(found...)
}

// newName is short of names on purpose: most of them hide another variable.
func (g *generator) newName(of kind) string { return string(rune(of)) + g.pick("", "", "1", "2") }

func (g *generator) anyKind() kind { return kinds[g.r.IntN(len(kinds))] }

// Draw returns a random chunk that returns what has become of its variables.
func Draw(r *rand.Rand) *Tree {
	g := &generator{r: r, size: 10 + r.IntN(80)}
	g.names, g.varargs = [][]string{nil}, true
	body := g.statements(3 + g.r.IntN(12))
	crowd := ""
	if g.one(5) {
		crowd = manyConstants
	}
	if g.one(5) {
		crowd += manyLocals
	}
	if g.one(3) {
		return statement(prelude+"out(try(function(...) "+crowd+"\n$send, ARGV[1], 2))\nreturn table.concat(log, ' ')", body)
	}
	return statement(prelude+crowd+"\n$sreturn table.concat(log, ' ')", body)
}

// Constants and local variables beyond the first ones are compiled otherwise.
var (
	manyConstants = "do local _ = {'" + numbered("', '", 300) + "'} end "
	manyLocals    = "local " + numbered(", ", 90) + " "
)

func numbered(separator string, n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("_", i)
	}
	return strings.Join(names, separator)
}

// prelude is on one line, before the program.
const prelude = `local log, steps, show = {}, 0 ` +
	`local function tick() steps = steps + 1 if steps > 200 then error('E too many steps', 0) end return false end ` +
	// An address has no place in what is compared, nor has the sign of a zero.
	`local tostring = function(v) if v == 0 then return '0' end local kind = type(v) ` +
	`return (kind == 'table' or kind == 'function' or kind == 'thread') and kind or tostring(v) end ` +
	// Errors that Lua itself raises have words of their own; of these the line is shown.
	`local function text(v) return (v:match('^(user_script:%d+:) [^E]') or v):sub(1, 40) end ` +
	`function show(v, depth) local kind, shown = type(v), {} ` +
	`if kind == 'string' then return '"' .. text(v) .. '"' end ` +
	`if kind ~= 'table' then return tostring(v) end ` +
	`if depth > 2 then return '{..}' end ` +
	`for k, e in pairs(v) do shown[#shown + 1] = show(k, depth + 1) .. '=' .. show(e, depth + 1) end ` +
	`table.sort(shown) return '{' .. table.concat(shown, ' ') .. '}' end ` +
	`local function out(...) tick() for i = 1, select('#', ...) do log[#log + 1] = show((select(i, ...)), 0) end ` +
	`log[#log + 1] = ';' return ... end ` +
	`local function whole(t) if type(t) ~= 'table' then return false end local n, last = 0, 0 ` +
	`for k in pairs(t) do if type(k) == 'number' and k > 0 then n = n + 1 last = math.max(k, last) end end ` +
	`return n == last end ` +
	`local function short(v) if type(v) == 'string' then return v:sub(1, 9) end return v end ` +
	`local function try(f, ...) return (function(ok, e, ...) if ok then return ok, e, ... end ` +
	`return ok, type(e) == 'string' and text(e) or e end)(pcall(f, ...)) end `

// statements draws some, in a scope of their own.
func (g *generator) statements(n int, names ...string) *Tree {
	g.names = append(g.names, names)
	all := block()
	for range n {
		if g.size > 0 {
			all.parts = append(all.parts, g.statement())
		}
	}
	if g.one(2) {
		if name := g.variable(g.anyKind()); name != "" {
			all.parts = append(all.parts, statement("out("+name+")"))
		}
	}
	switch {
	case g.loops > 0 && g.one(5):
		all.parts = append(all.parts, statement("break"))
	case len(g.names) > 2 && g.one(8):
		all.parts = append(all.parts, statement("return $s", g.list(g.r.IntN(3))))
	}
	g.names = g.names[:len(g.names)-1]
	return all
}

func (g *generator) small() *Tree { return g.statements(g.r.IntN(4)) }

// loop draws the body of one.
func (g *generator) loop(names ...string) *Tree {
	loops, repeated := g.loops, g.repeated
	g.loops, g.repeated = g.loops+1, true
	body := g.statements(g.r.IntN(4), names...)
	g.loops, g.repeated = loops, repeated
	return body
}

// list draws expressions with commas between, the last of which may be several.
func (g *generator) list(n int) *Tree {
	var parts []*Tree
	for i := range n {
		if i == n-1 && g.one(3) {
			parts = append(parts, g.several())
		} else {
			parts = append(parts, g.value(g.anyKind()))
		}
	}
	return commas(parts)
}

func commas(parts []*Tree) *Tree {
	return statement(strings.TrimSuffix(strings.Repeat("$0, ", len(parts)), ", "), parts...)
}

// several draws an expression of any number of values.
func (g *generator) several() *Tree {
	if g.varargs && g.one(2) {
		return expression('9', "...")
	}
	if g.one(4) {
		return expression('p', "unpack({$s}, 1, $s)", g.list(g.r.IntN(4)), word(fmt.Sprint(g.r.IntN(4))))
	}
	return g.call()
}

func (g *generator) call() *Tree {
	if f := g.variable(aFunction); f != "" && !g.one(6) {
		return expression('p', "$p($s)", word(f), g.list(g.r.IntN(4)))
	}
	switch o := g.variable(anObject); {
	case o != "" && g.one(2):
		return expression('p', "$p:m($s)", word(o), g.list(g.r.IntN(3)))
	case o != "":
		return expression('p', "$p($s)", word(o), g.list(g.r.IntN(3)))
	}
	return expression('p', "try($0, $0)", g.value(aFunction), g.value(anything))
}

func (g *generator) statement() *Tree {
	g.size--
	switch g.r.IntN(25) {
	case 0, 1, 2, 3, 4:
		return g.local()
	case 5, 6, 7, 8:
		return g.assignment()
	case 9:
		of := statement("local function $s", word(g.newName(aFunction)))
		g.declare(of.parts[0].text)
		of.text += "$s"
		of.parts = append(of.parts, g.body("\n"))
		return of
	case 10:
		if t := g.variable(aTable); t != "" {
			return statement("function "+t+g.pick(".a", ":a", ".b.c", ":m")+"$s", g.body("\n"))
		}
	case 11, 12:
		return g.conditional()
	case 13:
		return g.numericFor()
	case 14:
		return g.genericFor()
	case 15:
		return g.whileLoop()
	case 16:
		body := g.loop()
		return statement(g.pick(
			"repeat\n$suntil tick() or $0", "repeat tick() $suntil $0", "repeat do\n$send tick() until $0",
		), body, g.condition())
	case 17:
		return statement("do\n$send", g.small())
	case 18:
		return statement("out(try($0, $0))", g.value(aFunction), g.value(anything))
	case 19:
		return g.coroutine()
	case 20:
		if t := g.variable(aTable); t != "" {
			text := g.pick("table.insert($p, $0)", "table.insert($p, 1, $0)", "$p[#$p + 1] = $0", "out(table.remove($p), $0)",
				"out(table.concat($p, ',', 1, 0), $0)", "out(#$p, $0)")
			table := slices.Repeat([]*Tree{word(t)}, strings.Count(text, "$p"))
			return statement("if whole("+t+") then "+text+" end", append(table, g.value(anything))...)
		}
	case 21:
		return statement("error(tostring($0))", g.value(aString)) // Redis dies of a table
	case 22:
		return statement("$s", g.call())
	}
	return statement("out($s)", g.list(1+g.r.IntN(3)))
}

func (g *generator) local() *Tree {
	n := 1
	if g.one(3) {
		n = 1 + g.r.IntN(4)
	}
	var names []string
	var values []*Tree
	for range n {
		of := g.anyKind()
		names = append(names, g.newName(of))
		values = append(values, g.value(of))
	}
	switch g.r.IntN(6) {
	case 0:
		values = values[:g.r.IntN(n+1)]
	case 1:
		values = append(values[:g.r.IntN(n)], g.several())
	case 2:
		values = append(values, g.value(anything))
	}
	g.declare(names...)
	if len(values) == 0 {
		return statement("local " + strings.Join(names, ", "))
	}
	return statement("local "+strings.Join(names, ", ")+" = $s", commas(values))
}

func (g *generator) assignment() *Tree {
	n := 1
	if g.one(2) {
		n = 1 + g.r.IntN(3)
	}
	var targets, values []*Tree
	for range n {
		of := g.anyKind()
		name := g.variable(of)
		t := g.variable(aTable)
		switch {
		case t != "" && (name == "" || g.one(3)):
			targets = append(targets, g.field(word(t)))
		case name != "":
			targets = append(targets, word(name))
		case g.one(10):
			return statement("do $p[$0] = $0 end", g.value(anything), g.key(), g.value(anything))
		default:
			return g.local()
		}
		values = append(values, g.value(of))
	}
	if g.one(5) {
		values = append(values[:g.r.IntN(n)], g.several())
	}
	return statement("$s = $s", commas(targets), commas(values))
}

func (g *generator) field(table *Tree) *Tree {
	if g.one(2) {
		return expression('p', "$p."+g.pick("a", "b", "goto"), table)
	}
	return expression('p', "$p[$0]", table, g.key())
}

func (g *generator) key() *Tree {
	if g.one(3) {
		// The engine gives a key of nil to __newindex.
		return expression('1', "$1 or 'k'", g.value(g.anyKind()))
	}
	return word(g.pick("1", "2", "'a'", "'b'", "3", "1.5", "-1"))
}

func (g *generator) conditional() *Tree {
	text, parts := "if $0 then\n$s", []*Tree{g.condition(), g.small()}
	for g.one(3) {
		text, parts = text+"elseif $0 then\n$s", append(parts, g.condition(), g.small())
	}
	if g.one(2) {
		text, parts = text+"else\n$s", append(parts, g.small())
	}
	return statement(text+"end", parts...)
}

// condition draws what decides, at times a constant.
func (g *generator) condition() *Tree {
	switch g.r.IntN(6) {
	case 0:
		return expression('9', g.pick("true", "false", "nil", "1", "''"))
	case 1:
		return g.value(anything)
	}
	return g.truth()
}

func (g *generator) numericFor() *Tree {
	name := g.newName(aNumber)
	text := "for " + name + " = $0, $0" + g.pick("", "", ", 1", ", -1", ", 0.5", ", '2'", ", -2") + " do\n$send"
	bound := func() *Tree {
		if g.one(4) {
			return statement("$0", expression('p', "math.max(-3, math.min(4, $0))", g.value(aNumber)))
		}
		return word(g.pick("1", "2", "3", "'2'", "-1", "ARGV[1]", "0", "1.5", "nil", "'x'"))
	}
	from, to := bound(), bound()
	return statement(text, from, to, g.loop(name))
}

func (g *generator) genericFor() *Tree {
	key, value := g.newName(anything), g.newName(anything)
	if g.one(4) {
		key = g.newName(aNumber)
	}
	list, counted := expression('p', "ipairs($0)", g.value(aTable)), ""
	switch g.r.IntN(6) {
	case 0:
		list = expression('p', "pairs({$0})", g.value(anything))
	case 1:
		list = statement("next, {$0}", g.value(anything))
	case 2:
		list = statement("function(s, c) tick() c = (c or 0) + 1 if c < 3 then return c, s end end, $0", g.value(anything))
	case 3:
		list, counted = expression('p', "(function(f) return f end)($0)", g.value(aFunction)), " tick()"
	}
	names := []string{key, value, "x2"}[:1+g.r.IntN(3)]
	return statement("for "+strings.Join(names, ", ")+" in $s do"+counted+"\n$send", list, g.loop(names...))
}

func (g *generator) whileLoop() *Tree {
	condition := g.condition()
	return statement(g.pick(
		"while not tick() and $0 do\n$send", "while $0 do\ntick() $send", "while $0 do do\n$send tick() end",
		"while true do if tick() or not $7 then break end\n$send",
	), condition, g.loop())
}

func (g *generator) coroutine() *Tree {
	name := g.newName(aFunction)
	made := statement("local "+name+" = coroutine.wrap($0)", g.value(aFunction))
	g.declare(name)
	return made
}
