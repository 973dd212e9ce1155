package wildkey

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Term is what a Pattern asks of one segment: see Lit, Prefix, Suffix, Affix,
// Between, Any and Rest.
type Term struct {
	argument string // as match.lua takes it: =LITERAL, ^PREFIX*SUFFIX, [FROM<TO, * or **
}

// Lit matches the segment s and no other.
func Lit(s string) Term { return Term{"=" + encodeSegment(s)} }

// Prefix matches every segment that starts with s.
func Prefix(s string) Term { return Affix(s, "") }

// Suffix matches every segment that ends with s.
func Suffix(s string) Term { return Affix("", s) }

// Affix matches every segment that starts with prefix and ends with suffix behind
// that. One of the two may be empty.
func Affix(prefix, suffix string) Term {
	return Term{"^" + encodeSegment(prefix) + "*" + encodeSegment(suffix)}
}

// Between matches the segments at or after from and before to, in the byte order of
// their encoding. In it digits come before letters, capitals before small letters.
// One of the two may be empty: there is no bound on that side.
func Between(from, to string) Term { return Term{"[" + encodeSegment(from) + "<" + encodeSegment(to)} }

// Any matches any one segment.
func Any() Term { return Term{"*"} }

// Rest matches zero or more segments. It must be the last term.
func Rest() Term { return Term{"**"} }

// text returns the term as ParsePattern reads it.
func (t Term) text() string { return strings.TrimLeft(t.argument, "=^[") }

// Pattern is a list of terms that a key is held against, segment by segment.
// The zero Pattern matches nothing and is refused with ErrBadPattern.
type Pattern struct{ terms []Term }

var everything = Pattern{[]Term{Rest()}}

// NewPattern makes a Pattern of its terms. It returns ErrBadPattern when there
// is no term, when a literal, a prefix, a suffix or a range is empty, when a range ends
// before it begins, when Rest is not last, and when only keys above 4,096 encoded bytes
// could match.
func NewPattern(terms ...Term) (Pattern, error) {
	p := Pattern{slices.Clone(terms)}
	if err := p.check(); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

// Under returns the pattern of the record k and of all records beneath it. If
// k is no valid key, every use of the pattern returns ErrBadPattern.
func Under(k Key) Pattern {
	if len(k) == 0 {
		return Pattern{}
	}
	var terms []Term
	for _, segment := range k {
		terms = append(terms, Lit(segment))
	}
	return Pattern{append(terms, Rest())}
}

// Leases returns the pattern that finds the leases of the keys that p matches, whether
// or not these have a record, and no records. It is for package fetch, which says what a
// lease is: what the verbs call a record is then a lease, and they name it by its key.
func (p Pattern) Leases() Pattern {
	if len(p.terms) == 0 {
		return p
	}
	first, rest := p.terms[0].argument, p.terms[1:]
	switch first {
	case "**":
		first, rest = "^*", p.terms
	case "*":
		first = "^*"
	}
	return Pattern{append([]Term{{first[:1] + "!" + first[1:]}}, rest...)}
}

// lead is what the members of the index that p matches have before their keys.
func (p Pattern) lead() string {
	if len(p.terms) > 0 && strings.HasPrefix(p.terms[0].text(), "!") {
		return "!"
	}
	return ""
}

// ParsePattern reads the text form: terms joined by colons, each of them
//
//	abc      the segment abc
//	abc*xyz  a segment that starts with abc and ends with xyz; either may be missing
//	abc<xyz  a segment at or after abc and before xyz; either may be missing
//	*        any one segment
//	**       zero or more segments, last only
//
// with abc and xyz in their canonical encoding, as Key.String gives it. All else is
// ErrBadPattern: an invalid pattern is never taken for a literal.
func ParsePattern(text string) (Pattern, error) {
	var terms []Term
	for i, part := range strings.Split(text, ":") {
		wildcards, term := strings.Count(part, "*")+strings.Count(part, "<"), Term{part}
		switch {
		case part == "*" || part == "**":
		case wildcards > 1:
			return Pattern{}, fmt.Errorf("%w: %q: term %d has several wildcards", ErrBadPattern, text, i+1)
		case strings.Contains(part, "*"):
			term = Term{"^" + part}
		case wildcards == 1:
			term = Term{"[" + part}
		default:
			term = Term{"=" + part}
		}
		for _, literal := range strings.FieldsFunc(part, func(r rune) bool { return r == '*' || r == '<' }) {
			if err := checkLiteral(literal); err != nil {
				return Pattern{}, fmt.Errorf("%w: %q: term %d %v", ErrBadPattern, text, i+1, err)
			}
		}
		terms = append(terms, term)
	}
	return NewPattern(terms...)
}

// checkLiteral names the first odd character alone. The whole text, encoded, would have
// for a literal what was meant for a wildcard.
func checkLiteral(text string) error {
	for i := 0; i < len(text); i++ {
		if text[i] != '%' && !isUnreserved(text[i]) {
			_, size := utf8.DecodeRuneInString(text[i:])
			odd := text[i : i+size]
			return fmt.Errorf("has %q, which is no wildcard; as a part of a segment it is %s", odd, encodeSegment(odd))
		}
	}
	_, err := decodeSegment(text)
	return err
}

// MustParsePattern is ParsePattern for patterns that are part of a program: it
// panics where ParsePattern returns an error.
func MustParsePattern(text string) Pattern {
	p, err := ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func (p Pattern) check() error {
	if len(p.terms) == 0 {
		return fmt.Errorf("%w: it has no term", ErrBadPattern)
	}
	shortest := -1 // of the encoded keys that could match
	for i, term := range p.terms {
		text := term.text()
		if i == 0 {
			text = strings.TrimPrefix(text, "!") // of a lease, whose key has the limit
		}
		from, to, isRange := strings.Cut(text, "<")
		switch {
		case len(term.text()) == 0, term.argument == "^*", term.argument == "[<":
			return fmt.Errorf("%w: %q: term %d is empty", ErrBadPattern, p.String(), i+1)
		case term == Rest() && i < len(p.terms)-1:
			return fmt.Errorf("%w: %q: term %d, **, is not last", ErrBadPattern, p.String(), i+1)
		case isRange && to != "" && from >= to:
			return fmt.Errorf("%w: %q: term %d, a range, ends before it begins", ErrBadPattern, p.String(), i+1)
		case isRange:
			shortest += 2
		case term != Rest():
			shortest += 1 + max(1, len(strings.Replace(text, "*", "", 1)))
		}
		if !isRange {
			from = ""
		}
		if longest := max(shortest, len(from), len(to)); longest > maxEncodedKey {
			return fmt.Errorf("%w: it asks for keys of %d bytes encoded, %d are allowed", ErrBadPattern, longest, maxEncodedKey)
		}
	}
	return nil
}

// String returns the text form that ParsePattern reads.
func (p Pattern) String() string {
	parts := make([]string, len(p.terms))
	for i, term := range p.terms {
		parts[i] = term.text()
	}
	return strings.Join(parts, ":")
}

// Matches reports whether the pattern matches the key, by the rule that
// match.lua applies on the server. What is invalid matches nothing.
func (p Pattern) Matches(k Key) bool {
	if _, err := k.encode(""); err != nil || p.check() != nil {
		return false
	}
	for i, term := range p.terms {
		if term == Rest() {
			return true
		}
		if i == len(k) || !term.matches(k[i]) {
			return false
		}
	}
	return len(k) == len(p.terms)
}

func (t Term) matches(segment string) bool {
	encoded := encodeSegment(segment)
	switch t.argument[0] {
	case '=':
		return encoded == t.argument[1:]
	case '[':
		from, to, _ := strings.Cut(t.argument[1:], "<")
		return encoded >= from && (to == "" || encoded < to)
	case '^':
		prefix, suffix, _ := strings.Cut(t.argument[1:], "*")
		rest, starts := strings.CutPrefix(encoded, prefix)
		between, ends := strings.CutSuffix(rest, suffix)
		_, err := decodeSegment(between) // A ends no %2A
		return starts && ends && err == nil
	}
	return true
}
