package luaprogram

import (
	"strings"

	"github.com/wildkey/wildkey/internal/differ"
)

// Tree is a program, or a part of a program. Its text has a mark for each part in it: a $ and
// how tightly an expression there must bind, or $s for anything else.
type Tree struct {
	text  string
	binds byte // an expression: how tightly it binds, '0' to '9', or 'p' for what may be called
	parts []*Tree
	list  bool // any number of statements
	// What is on one line is so because of an error in it the line is compared,
	// and the engine may know another one of a statement's lines.
	oneLine bool
}

// spell writes a part as Lua, with parentheses only where they must be.
func (t *Tree) spell(b *strings.Builder) {
	if t.list {
		for _, statement := range t.parts {
			statement.spell(b)
			b.WriteByte('\n')
		}
		return
	}
	next := 0
	for i := 0; i < len(t.text); i++ {
		if t.text[i] != '$' {
			b.WriteByte(t.text[i])
			continue
		}
		i++
		part, wanted := t.parts[next], t.text[i]
		next++
		spelled := part.String()
		if wanted != 's' && part.binds < wanted {
			spelled = "(" + spelled + ")"
		}
		b.WriteString(spelled)
	}
}

func (t *Tree) String() string {
	var b strings.Builder
	t.spell(&b)
	if t.oneLine {
		return strings.ReplaceAll(b.String(), "\n", " ")
	}
	return b.String()
}

func block(statements ...*Tree) *Tree { return &Tree{list: true, parts: statements} }

func word(text string) *Tree { return &Tree{text: text, binds: 'p'} }

func statement(text string, parts ...*Tree) *Tree { return &Tree{text: text, parts: parts} }

func expression(binds byte, text string, parts ...*Tree) *Tree {
	return &Tree{text: text, binds: binds, parts: parts}
}

// Shrink leaves out statements of a program that still fails, and puts simpler
// expressions in the place of others.
func (t *Tree) Shrink(fails func() bool) {
	for again := true; again; {
		before := len(t.String())
		t.shrink(fails)
		again = len(t.String()) < before
	}
}

func (t *Tree) shrink(fails func() bool) {
	if t.list {
		t.parts = differ.Shrink(t.parts, func(parts []*Tree) bool {
			all := t.parts
			t.parts = parts
			failed := fails()
			t.parts = all
			return failed
		})
	}
	for i, part := range t.parts {
		if t.simplify(i, fails) {
			continue
		}
		part.shrink(fails)
	}
}

// simplify puts something simpler in the place of a part.
func (t *Tree) simplify(i int, fails func() bool) bool {
	part := t.parts[i]
	var simpler []*Tree
	switch {
	case part.binds != 0 && len(part.text) > len("nil"):
		for _, inner := range part.parts {
			if inner.binds != 0 {
				simpler = append(simpler, inner)
			}
		}
		simpler = append(simpler, expression('9', "nil"), expression('9', "1"), expression('9', "{}"))
	case part.binds == 0:
		for _, inner := range part.parts {
			if inner.binds == 0 && t.list {
				simpler = append(simpler, inner)
			}
		}
	}
	for _, other := range simpler {
		t.parts[i] = other
		if len(other.String()) < len(part.String()) && fails() {
			return true
		}
	}
	t.parts[i] = part
	return false
}
