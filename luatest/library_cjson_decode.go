package luatest

import (
	"strconv"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

func (c *cjsonSettings) decode(l *lua.LState) int {
	oneArgument(l)
	text := stringArgument(l, 1)
	if len(text) >= 2 && (text[0] == 0 || text[1] == 0) {
		fail(l, "JSON parser does not support UTF-16 or UTF-32")
	}
	d := &jsonDecoder{cjsonSettings: c, l: l, text: cString(text)}
	v := d.value(d.next(), 1)
	if end := d.next(); end.kind != "T_END" {
		d.unexpected("the end", end)
	}
	l.Push(v)
	return 1
}

type jsonDecoder struct {
	*cjsonSettings
	l     *lua.LState
	text  string
	at    int
	depth int
}

// jsonToken has a kind by the name that errors give it: a kind of cjson's, or
// what is wrong with it.
type jsonToken struct {
	kind  string
	index int
	value lua.LValue
}

var jsonKinds = map[byte]string{
	'{': "T_OBJ_BEGIN", '}': "T_OBJ_END", '[': "T_ARR_BEGIN", ']': "T_ARR_END", ':': "T_COLON", ',': "T_COMMA",
}

func (d *jsonDecoder) unexpected(wanted string, token jsonToken) {
	fail(d.l, "Expected %s but found %s at character %d", wanted, token.kind, token.index+1)
}

// next reads one token.
func (d *jsonDecoder) next() jsonToken {
	d.at += len(d.text[d.at:]) - len(strings.TrimLeft(d.text[d.at:], " \t\n\r"))
	start := d.at
	rest := d.text[start:]
	if rest == "" {
		return jsonToken{kind: "T_END", index: start}
	}
	if kind := jsonKinds[rest[0]]; kind != "" {
		d.at++
		return jsonToken{kind: kind, index: start}
	}
	if rest[0] == '"' {
		return d.stringToken()
	}
	if rest[0] == '-' || isDigit(rest[0]) {
		if !d.decodeInvalid && isInvalidJSONNumber(rest) {
			return jsonToken{kind: "invalid number", index: start}
		}
		return d.numberToken()
	}
	for _, word := range []struct {
		text, kind string
		value      lua.LValue
	}{{"true", "T_BOOLEAN", lua.LTrue}, {"false", "T_BOOLEAN", lua.LFalse}, {"null", "T_NULL", d.sandbox.null}} {
		if strings.HasPrefix(rest, word.text) {
			d.at += len(word.text)
			return jsonToken{word.kind, start, word.value}
		}
	}
	if d.decodeInvalid && strings.IndexByte("+iInN", rest[0]) >= 0 && isInvalidJSONNumber(rest) {
		return d.numberToken()
	}
	return jsonToken{kind: "invalid token", index: start}
}

// isInvalidJSONNumber reports whether text begins with a number that C reads
// and JSON has not.
func isInvalidJSONNumber(text string) bool {
	if text[0] == '+' {
		return true
	}
	text = strings.TrimPrefix(text, "-")
	first := byteAt(text, 0)
	if first == '0' {
		second := byteAt(text, 1)
		return second|0x20 == 'x' || isDigit(second)
	}
	if first <= '9' {
		return false
	}
	word := strings.ToLower(head(text, 3))
	return word == "inf" || word == "nan"
}

func (d *jsonDecoder) numberToken() jsonToken {
	n := floatPrefix(d.text[d.at:])
	if n == 0 {
		return jsonToken{kind: "invalid number", index: d.at}
	}
	x, _ := parseFloat(d.text[d.at : d.at+n])
	token := jsonToken{"T_NUMBER", d.at, lua.LNumber(x)}
	d.at += n
	return token
}

func (d *jsonDecoder) stringToken() jsonToken {
	token := jsonToken{kind: "T_STRING", index: d.at}
	invalid := func(problem string) jsonToken { return jsonToken{kind: problem, index: d.at} }
	var out []byte
	for d.at++; ; {
		switch c := byteAt(d.text, d.at); c {
		case 0:
			return invalid("unexpected end of string")
		case '"':
			d.at++
			token.value = lua.LString(out)
			return token
		case '\\':
			letter := byteAt(d.text, d.at+1)
			if letter == 'u' {
				char, n := unicodeEscape(d.text[d.at:])
				if n == 0 {
					return invalid("invalid unicode escape code")
				}
				out = utf8.AppendRune(out, char)
				d.at += n
				continue
			}
			meaning, ok := jsonLetters[letter]
			if !ok {
				return invalid("invalid escape code")
			}
			out = append(out, meaning)
			d.at += 2
		default:
			out = append(out, c)
			d.at++
		}
	}
}

// unicodeEscape reads the \u and four digits, or the surrogate pair of two, that text
// begins with, and returns how long it is, or 0.
func unicodeEscape(text string) (char rune, length int) {
	const escapeLength = 6
	char = hex4(text)
	switch {
	case char < 0:
		return 0, 0
	case char&0xf800 != 0xd800:
		return char, escapeLength
	case char&0x400 != 0:
		return 0, 0
	}
	low := hex4(text[escapeLength:])
	if low&0xfc00 != 0xdc00 {
		return 0, 0
	}
	return (char&0x3ff<<10 | low&0x3ff) + 0x10000, 2 * escapeLength
}

// hex4 returns the four hexadecimal digits of the \u that text begins
// with, or -1.
func hex4(text string) rune {
	if len(text) < 6 || text[:2] != `\u` {
		return -1
	}
	value, err := strconv.ParseUint(text[2:6], 16, 16)
	if err != nil {
		return -1
	}
	return rune(value)
}

// descend counts one more table around what is read.
func (d *jsonDecoder) descend(used, slots int) {
	d.depth++
	if d.depth > d.decodeMaxDepth || used+slots > stackLimit {
		fail(d.l, "Found too many nested data structures (%d) at character %d", d.depth, d.at)
	}
}

// value converts a token and what belongs to it, when used values are on the
// stack of the C function.
func (d *jsonDecoder) value(token jsonToken, used int) lua.LValue {
	switch token.kind {
	case "T_STRING", "T_NUMBER", "T_BOOLEAN", "T_NULL":
		return token.value
	case "T_OBJ_BEGIN":
		return d.object(used)
	case "T_ARR_BEGIN":
		return d.array(used)
	}
	d.unexpected("value", token)
	return nil
}

func (d *jsonDecoder) object(used int) lua.LValue {
	d.descend(used, 3)
	t := d.l.NewTable()
	token := d.next()
	if token.kind == "T_OBJ_END" {
		d.depth--
		return t
	}
	for {
		if token.kind != "T_STRING" {
			d.unexpected("object key string", token)
		}
		if colon := d.next(); colon.kind != "T_COLON" {
			d.unexpected("colon", colon)
		}
		t.RawSet(token.value, d.value(d.next(), used+2))
		switch token = d.next(); token.kind {
		case "T_OBJ_END":
			d.depth--
			return t
		case "T_COMMA":
		default:
			d.unexpected("comma or object end", token)
		}
		token = d.next()
	}
}

func (d *jsonDecoder) array(used int) lua.LValue {
	d.descend(used, 2)
	t := d.l.NewTable()
	token := d.next()
	if token.kind == "T_ARR_END" {
		d.depth--
		return t
	}
	for {
		t.Append(d.value(token, used+1))
		switch token = d.next(); token.kind {
		case "T_ARR_END":
			d.depth--
			return t
		case "T_COMMA":
		default:
			d.unexpected("comma or array end", token)
		}
		token = d.next()
	}
}
