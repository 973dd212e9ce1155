package luatest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// token is a token of Lua 5.1. Its kind is its own text, or one of the four
// kinds that have a text beside.
type token struct {
	kind string
	text string
}

const (
	nameToken   = "<name>"
	stringToken = "<string>"
	numberToken = "<number>"
	endToken    = "<eof>"
)

// shown is the token as Lua shows it behind "near", where it leaves out a NUL.
func (t token) shown() string {
	switch t.kind {
	case nameToken, stringToken, numberToken:
		return cString(t.text)
	case "char(0)":
		return ""
	}
	return t.kind
}

var keywords = []string{
	"and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil", "not", "or",
	"repeat", "return", "then", "true", "until", "while",
}

// syntaxError is why Lua 5.1 does not compile a chunk, with the line in front.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

// lexer reads tokens as Lua 5.1 does. It panics with a syntaxError.
type lexer struct {
	source string // what has not been read
	line   int
	text   []byte // of the token that is being read
}

// peek returns the next byte, or a NUL at the end of the source.
func (l *lexer) peek() byte { return byteAt(l.source, 0) }

func (l *lexer) ended() bool { return l.source == "" }

func (l *lexer) skip() { l.source = l.source[1:] }

func (l *lexer) save() {
	l.text = append(l.text, l.source[0])
	l.skip()
}

// accept reads one of the bytes, if it comes next.
func (l *lexer) accept(bytes string) bool {
	if l.source == "" || strings.IndexByte(bytes, l.source[0]) < 0 {
		return false
	}
	l.save()
	return true
}

// fail stops with an error, which shows the token beside it unless near is empty.
func (l *lexer) fail(problem, near string) {
	if near != "" {
		problem += " near '" + near + "'"
	}
	panic(syntaxError(fmt.Sprintf("%d: %s", l.line, problem)))
}

func (l *lexer) failHere(problem string) { l.fail(problem, cString(string(l.text))) }

func isNewline(c byte) bool { return c == '\n' || c == '\r' }

// newline skips a line break, which may be of two different bytes.
func (l *lexer) newline() {
	first := l.peek()
	l.skip()
	if second := l.peek(); isNewline(second) && second != first {
		l.skip()
	}
	l.line++
}

func isAlphanumeric(c byte) bool { return isDigit(c) || isLetter(c) || c == '_' }

// next reads a token.
func (l *lexer) next() token {
	for {
		l.text = l.text[:0]
		switch c := l.peek(); {
		case l.ended():
			return token{kind: endToken}
		case isNewline(c):
			l.newline()
		case c == ' ' || c == '\t' || c == '\v' || c == '\f':
			l.skip()
		case c == '-':
			l.save()
			if l.peek() != '-' {
				return token{kind: "-"}
			}
			l.skip()
			l.comment()
		case c == '[':
			switch level := l.bracket(); {
			case level >= 0:
				l.long(level, "string")
				return token{stringToken, string(l.text)}
			case level < -1:
				l.failHere("invalid long string delimiter")
			}
			return token{kind: "["}
		case c == '=' || c == '<' || c == '>' || c == '~':
			l.save()
			l.accept("=")
			return token{kind: string(l.text)}
		case c == '"' || c == '\'':
			l.quoted(c)
			return token{stringToken, string(l.text)}
		case c == '.':
			l.save()
			if l.accept(".") {
				l.accept(".")
				return token{kind: string(l.text)}
			}
			if !isDigit(l.peek()) {
				return token{kind: "."}
			}
			return l.number()
		case isDigit(c):
			return l.number()
		case isAlphanumeric(c):
			for isAlphanumeric(l.peek()) {
				l.save()
			}
			if slices.Contains(keywords, string(l.text)) {
				return token{kind: string(l.text)}
			}
			return token{nameToken, string(l.text)}
		case c < ' ' || c == 0x7f:
			l.skip()
			return token{kind: "char(" + strconv.Itoa(int(c)) + ")"}
		default:
			l.save()
			return token{kind: string(l.text)}
		}
	}
}

func (l *lexer) comment() {
	if l.peek() == '[' {
		if level := l.bracket(); level >= 0 {
			l.long(level, "comment")
			return
		}
	}
	for !l.ended() && !isNewline(l.peek()) {
		l.skip()
	}
}

func (l *lexer) number() token {
	for isDigit(l.peek()) || l.peek() == '.' {
		l.save()
	}
	if l.accept("Ee") {
		l.accept("+-")
	}
	for isAlphanumeric(l.peek()) {
		l.save()
	}
	if _, ok := parseLuaNumber(string(l.text)); !ok {
		l.failHere("malformed number")
	}
	return token{numberToken, string(l.text)}
}

func (l *lexer) quoted(quote byte) {
	for l.save(); l.peek() != quote; {
		switch c := l.peek(); {
		case l.ended():
			l.fail("unfinished string", endToken)
		case isNewline(c):
			l.failHere("unfinished string")
		case c == '\\':
			l.escape()
		default:
			l.save()
		}
	}
	l.save()
}

func (l *lexer) escape() {
	l.skip()
	switch c := l.peek(); {
	case l.ended(): // the string is unfinished
	case isNewline(c):
		l.text = append(l.text, '\n')
		l.newline()
	case isDigit(c):
		code := 0
		for i := 0; i < 3 && isDigit(l.peek()); i++ {
			code = 10*code + int(l.peek()-'0')
			l.skip()
		}
		if code > 255 {
			l.failHere("escape sequence too large")
		}
		l.text = append(l.text, byte(code))
	default:
		if special := strings.IndexByte("abfnrtv", c); special >= 0 {
			c = "\a\b\f\n\r\t\v"[special]
		}
		l.text = append(l.text, c)
		l.skip()
	}
}

// bracket reads the first half of a long bracket, up to what should be its
// second [ or ], and returns its level. It is -1 for a single bracket, and
// less for one with equals signs.
func (l *lexer) bracket() int {
	first, level := l.peek(), 0
	for l.save(); l.accept("="); level++ {
	}
	if l.peek() == first {
		return level
	}
	return -level - 1
}

// long reads a string or a comment in long brackets, from the second one on.
func (l *lexer) long(level int, what string) {
	l.save()
	if isNewline(l.peek()) {
		l.newline()
	}
	for {
		switch c := l.peek(); {
		case l.ended():
			l.fail("unfinished long "+what, endToken)
		case c == ']':
			if l.bracket() == level {
				l.save()
				return
			}
		case isNewline(c):
			l.text = append(l.text, '\n')
			l.newline()
		default:
			l.save()
		}
	}
}
