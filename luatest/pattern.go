package luatest

// maxCaptures is how many captures a pattern may have.
const maxCaptures = 32

const (
	captureOpen     = -1
	capturePosition = -2
)

// matcher matches one subject against Lua 5.1's patterns. A pattern ends at
// its first NUL, as a C string does; a subject may hold any bytes.
type matcher struct {
	subject, pattern string
	captures         [maxCaptures]capture
	level            int
	fail             func(problem string) // does not return
}

// capture is a piece of the subject; its length may be captureOpen or
// capturePosition instead.
type capture struct{ start, length int }

func newMatcher(subject, pattern string, fail func(string)) *matcher {
	return &matcher{subject: subject, pattern: cString(pattern), fail: fail}
}

// byteAt is s[i], or the NUL that ends s.
func byteAt(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}

// matchAt forgets the captures so far and matches the pattern from p on
// against the subject from start on. It returns where the match ends, or -1.
func (m *matcher) matchAt(start, p int) int {
	m.level = 0
	return m.match(start, p)
}

func (m *matcher) match(s, p int) int {
	for p < len(m.pattern) {
		switch next := byteAt(m.pattern, p+1); {
		case m.pattern[p] == '(' && next == ')':
			return m.openCapture(s, p+2, capturePosition)
		case m.pattern[p] == '(':
			return m.openCapture(s, p+1, captureOpen)
		case m.pattern[p] == ')':
			return m.closeCapture(s, p+1)
		case m.pattern[p] == '$' && p+1 == len(m.pattern):
			if s == len(m.subject) {
				return s
			}
			return -1
		case m.pattern[p] == '%' && next == 'b':
			if s = m.balance(s, p+2); s < 0 {
				return -1
			}
			p += 4
			continue
		case m.pattern[p] == '%' && next == 'f':
			end := m.frontier(s, p+2)
			if end < 0 {
				return -1
			}
			p = end
			continue
		case m.pattern[p] == '%' && isDigit(next):
			if s = m.backReference(s, next); s < 0 {
				return -1
			}
			p += 2
			continue
		}
		end := m.classEnd(p)
		switch byteAt(m.pattern, end) {
		case '?':
			if m.single(s, p, end) {
				if e := m.match(s+1, end+1); e >= 0 {
					return e
				}
			}
			p = end + 1
		case '*':
			return m.longest(s, s, p, end)
		case '+':
			if !m.single(s, p, end) {
				return -1
			}
			return m.longest(s, s+1, p, end)
		case '-':
			return m.shortest(s, p, end)
		default:
			if !m.single(s, p, end) {
				return -1
			}
			s++
			p = end
		}
	}
	return s
}

// longest matches the class at p as often as it can, then less often, but not
// so that the rest begins before first.
func (m *matcher) longest(s, first, p, end int) int {
	for m.single(s, p, end) {
		s++
	}
	for ; s >= first; s-- {
		if e := m.match(s, end+1); e >= 0 {
			return e
		}
	}
	return -1
}

func (m *matcher) shortest(s, p, end int) int {
	for {
		if e := m.match(s, end+1); e >= 0 {
			return e
		}
		if !m.single(s, p, end) {
			return -1
		}
		s++
	}
}

func (m *matcher) openCapture(s, p, kind int) int {
	if m.level == maxCaptures {
		m.fail("too many captures")
	}
	m.captures[m.level] = capture{s, kind}
	m.level++
	e := m.match(s, p)
	if e < 0 {
		m.level--
	}
	return e
}

func (m *matcher) closeCapture(s, p int) int {
	i := m.level - 1
	for ; i >= 0 && m.captures[i].length != captureOpen; i-- {
	}
	if i < 0 {
		m.fail("invalid pattern capture")
	}
	m.captures[i].length = s - m.captures[i].start
	e := m.match(s, p)
	if e < 0 {
		m.captures[i].length = captureOpen
	}
	return e
}

func (m *matcher) backReference(s int, digit byte) int {
	i := int(digit) - '1'
	if i < 0 || i >= m.level || m.captures[i].length == captureOpen {
		m.fail("invalid capture index")
	}
	c := m.captures[i]
	// Lua compares a position's length, -2, as an unsigned one, which never fits.
	if c.length < 0 || len(m.subject)-s < c.length || m.subject[c.start:c.start+c.length] != m.subject[s:s+c.length] {
		return -1
	}
	return s + c.length
}

func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pattern) {
		m.fail("unbalanced pattern")
	}
	open, end := m.pattern[p], m.pattern[p+1]
	if s == len(m.subject) || m.subject[s] != open {
		return -1
	}
	depth := 1
	for s++; s < len(m.subject); s++ {
		switch m.subject[s] {
		case end:
			if depth--; depth == 0 {
				return s + 1
			}
		case open:
			depth++
		}
	}
	return -1
}

// frontier matches %f with the set at p: a place between a byte outside of the
// set and one within. It returns where the set ends.
func (m *matcher) frontier(s, p int) int {
	if byteAt(m.pattern, p) != '[' {
		m.fail("missing '[' after '%f' in pattern")
	}
	end := m.classEnd(p)
	var before byte
	if s > 0 {
		before = m.subject[s-1]
	}
	if m.inSet(before, p, end-1) || !m.inSet(byteAt(m.subject, s), p, end-1) {
		return -1
	}
	return end
}

// classEnd returns where the class that begins at p ends.
func (m *matcher) classEnd(p int) int {
	switch m.pattern[p] {
	case '%':
		if p+1 == len(m.pattern) {
			m.fail("malformed pattern (ends with '%')")
		}
		return p + 2
	case '[':
		p++
		if byteAt(m.pattern, p) == '^' {
			p++
		}
		// A bracket that comes first stands for itself.
		for first := true; first || byteAt(m.pattern, p) != ']'; first = false {
			if p >= len(m.pattern) {
				m.fail("malformed pattern (missing ']')")
			}
			p++
			if m.pattern[p-1] == '%' && p < len(m.pattern) {
				p++
			}
		}
	}
	return p + 1
}

// single reports whether the subject has at s a byte of the class from p to end.
func (m *matcher) single(s, p, end int) bool {
	if s >= len(m.subject) {
		return false
	}
	c := m.subject[s]
	switch m.pattern[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pattern[p+1])
	case '[':
		return m.inSet(c, p, end-1)
	}
	return m.pattern[p] == c
}

// inSet reports whether c is in the set between the brackets at p and at end.
func (m *matcher) inSet(c byte, p, end int) bool {
	found := true
	if m.pattern[p+1] == '^' {
		found = false
		p++
	}
	for p++; p < end; p++ {
		switch {
		case m.pattern[p] == '%':
			p++
			if inClass(c, m.pattern[p]) {
				return found
			}
		case m.pattern[p+1] == '-' && p+2 < end:
			p += 2
			if m.pattern[p-2] <= c && c <= m.pattern[p] {
				return found
			}
		case m.pattern[p] == c:
			return found
		}
	}
	return !found
}

// inClass reports whether c is in %class, in the C locale. A letter that names
// no class, and any other byte, stands for itself.
func inClass(c, class byte) bool {
	var in bool
	switch class | 0x20 {
	case 'a':
		in = isLetter(c)
	case 'c':
		in = c < ' ' || c == 0x7f
	case 'd':
		in = isDigit(c)
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = isPrint(c) && !isLetter(c) && !isDigit(c)
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = isLetter(c) || isDigit(c)
	case 'x':
		in = isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if !isLetter(class) {
		return class == c
	}
	return in == ('a' <= class)
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isPrint(c byte) bool  { return ' ' < c && c < 0x7f }

// anchor returns where in the pattern to begin, and whether it may match at
// the start of the subject only.
func (m *matcher) anchor() (first int, anchored bool) {
	if byteAt(m.pattern, 0) == '^' {
		return 1, true
	}
	return 0, false
}
