package luatest

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// parseChunk parses a chunk that Lua 5.1 compiles. The parser is given the
// tokens that Lua 5.1 reads, each on the line where it ends, in a spelling that
// gopher-lua reads as the same: it has white space, comments, numbers and a
// keyword of its own.
func parseChunk(source, shown string) ([]ast.Stmt, error) {
	standIn := standInFor(keywordOfTheirs, source)
	var spelled strings.Builder
	l := lexer{source: source, line: 1}
	for line := 1; ; {
		t := l.next()
		if t.kind == endToken {
			break
		}
		spelled.WriteString(strings.Repeat("\n", l.line-line) + " " + spell(t, standIn))
		line = l.line
	}
	chunk, err := parse.Parse(strings.NewReader(spelled.String()), shown)
	if err == nil && standIn != "" {
		rename(reflect.ValueOf(chunk), standIn, keywordOfTheirs)
	}
	return chunk, err
}

// keywordOfTheirs is a name in Lua 5.1.
const keywordOfTheirs = "goto"

// standInFor returns a name that a source does not have, or "" if there is
// nothing for which it could stand.
func standInFor(name, source string) string {
	if !strings.Contains(source, name) {
		return ""
	}
	standIn := name
	for strings.Contains(source, standIn) {
		standIn += "_"
	}
	return standIn
}

var numberOfTheirs = regexp.MustCompile(`^(0[xX][0-9a-fA-F]+|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?)$`)

func spell(t token, standIn string) string {
	switch {
	case t.kind == stringToken:
		delimiter := 1
		if t.text[0] == '[' {
			delimiter += 1 + strings.IndexByte(t.text[1:], '[')
		}
		return luaString(t.text[delimiter : len(t.text)-delimiter])
	case t.kind == numberToken && !numberOfTheirs.MatchString(t.text):
		x, _ := parseLuaNumber(t.text)
		return strconv.FormatFloat(x, 'g', -1, 64)
	case t.kind == nameToken && t.text == keywordOfTheirs:
		return standIn
	case t.kind == nameToken || t.kind == numberToken:
		return t.text
	}
	return t.kind
}

// rename changes a name wherever it stands in a syntax tree.
func rename(v reflect.Value, from, to string) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			rename(v.Elem(), from, to)
		}
	case reflect.Slice:
		for i := range v.Len() {
			rename(v.Index(i), from, to)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				rename(v.Field(i), from, to)
			}
		}
	case reflect.String:
		if v.String() == from {
			v.SetString(to)
		}
	}
}
