package wildkey

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Term is the part of a Pattern that matches one segment, or the rest of a key. Make
// one with Lit, Prefix, Suffix, Affix, Between, Any or Rest.
type Term struct {
	argument string // as match.lua takes it: =LITERAL, ^PREFIX*SUFFIX, [FROM<TO, * or **
}

// Lit matches only the segment s.
func Lit(s string) Term { return Term{"=" + encodeSegment(s)} }

// Prefix matches every segment that starts with s.
func Prefix(s string) Term { return Affix(s, "") }

// Suffix matches every segment that ends with s.
func Suffix(s string) Term { return Affix("", s) }

// Affix matches every segment that starts with prefix and ends with suffix. The two do
// not overlap. One of them may be empty.
func Affix(prefix, suffix string) Term {
	return Term{"^" + encodeSegment(prefix) + "*" + encodeSegment(suffix)}
}

// Between matches the segments from from up to but not including to, in the byte order
// of their encoding. There, digits come before letters, and capitals before lower-case
// letters. One of the two may be empty, which means no bound on that side.
func Between(from, to string) Term { return Term{"[" + encodeSegment(from) + "<" + encodeSegment(to)} }

// Any matches any one segment.
func Any() Term { return Term{"*"} }

// Rest matches zero or more segments. It must be the last term.
func Rest() Term { return Term{"**"} }

// text returns the term as ParsePattern reads it.
func (t Term) text() string { return strings.TrimLeft(t.argument, "=^[") }

// Pattern is a list of terms, which match a key segment by segment. The zero Pattern
// matches nothing, and every verb returns ErrBadPattern for it.
type Pattern struct{ terms []Term }

var everything = Pattern{[]Term{Rest()}}

// NewPattern makes a Pattern from its terms. It returns ErrBadPattern if there are no
// terms, if a literal, affix or range is empty, if a range ends before it begins, if Rest
// is not last, or if only keys longer than 4,096 encoded bytes could match.
func NewPattern(terms ...Term) (Pattern, error) {
	p := Pattern{slices.Clone(terms)}
	if err := p.check(); err != nil {
		return Pattern{}, err
	}
	return p, nil
}

// Under returns the pattern that matches k and all keys beneath it. If k is not a valid
// key, every use of the pattern returns ErrBadPattern.
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

// Leases returns a pattern that finds only leases: those of the keys that p matches, with
// or without a record. With such a pattern the verbs work on leases instead of records
// and identify each lease by its key. Package fetch uses it and explains leases.
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

// lead returns the prefix of the index members that p matches: "!" for leases.
func (p Pattern) lead() string {
	if len(p.terms) > 0 && strings.HasPrefix(p.terms[0].text(), "!") {
		return "!"
	}
	return ""
}

// ParsePattern parses the text form of a pattern: terms, joined by colons. Each is one of
//
//	abc      the segment abc
//	abc*xyz  a segment that starts with abc and ends with xyz; either may be missing
//	abc<xyz  a segment at or after abc and before xyz; either may be missing
//	*        any one segment
//	**       zero or more segments; must be last
//
// where abc and xyz are encoded as Key.String encodes them. ParsePattern returns
// ErrBadPattern for anything else, and never takes an invalid pattern for a literal.
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

// checkLiteral names only the first odd character. If it suggested the whole text in its
// encoded form, it would turn an intended wildcard into a literal.
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

// MustParsePattern is like ParsePattern but panics on an error. It is for patterns that
// are constants in a program.
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

// Matches reports whether the pattern matches the key. It follows the same rules as
// match.lua on the server. An invalid pattern or key never matches.
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
		_, err := decodeSegment(between) // the suffix A must not match the end of %2A
		return starts && ends && err == nil
	}
	return true
}
