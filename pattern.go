package wildkey

import (
	"fmt"
	"slices"
	"strings"
)

// Term is what a Pattern asks of one segment: see Lit, Prefix, Any and Rest.
type Term struct {
	argument string // as match.lua takes it: =LITERAL, ^PREFIX, * or **
	text     string // as ParsePattern reads it
}

// Lit matches the segment s and no other.
func Lit(s string) Term {
	encoded := string(appendEncoded(nil, s))
	return Term{"=" + encoded, encoded}
}

// Prefix matches every segment that starts with s.
func Prefix(s string) Term {
	encoded := string(appendEncoded(nil, s))
	return Term{"^" + encoded, encoded + "*"}
}

// Any matches any one segment.
func Any() Term { return Term{"*", "*"} }

// Rest matches zero or more segments. It must be the last term.
func Rest() Term { return Term{"**", "**"} }

// Pattern is a list of terms that a key is held against, segment by segment.
// The zero Pattern matches nothing and is refused with ErrBadPattern.
type Pattern struct{ terms []Term }

var everything = Pattern{[]Term{Rest()}}

// NewPattern makes a Pattern of its terms. It returns ErrBadPattern when there
// is no term, when a literal or prefix is empty, when Rest is not last, and when
// no key is so long as to match.
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

// ParsePattern reads the text form: terms joined by colons, each of them
//
//	abc   the segment abc
//	abc*  a segment that starts with abc
//	*     any one segment
//	**    zero or more segments, last only
//
// with abc in its canonical encoding, as Key.String gives it. All else is
// ErrBadPattern: a text that is no pattern is never taken for a literal.
func ParsePattern(text string) (Pattern, error) {
	var terms []Term
	for i, part := range strings.Split(text, ":") {
		argument, literal := "="+part, part
		if part == "*" || part == "**" {
			argument, literal = part, ""
		} else if prefix, ok := strings.CutSuffix(part, "*"); ok {
			argument, literal = "^"+prefix, prefix
		}
		if _, err := decodeSegment(literal); err != nil {
			return Pattern{}, fmt.Errorf("%w: %q: term %d %v", ErrBadPattern, text, i+1, err)
		}
		terms = append(terms, Term{argument, part})
	}
	return NewPattern(terms...)
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
		if len(term.argument) <= 1 && term != Any() {
			return fmt.Errorf("%w: %q: term %d is empty", ErrBadPattern, p.String(), i+1)
		}
		if term == Rest() && i < len(p.terms)-1 {
			return fmt.Errorf("%w: %q: term %d, **, is not last", ErrBadPattern, p.String(), i+1)
		}
		if term != Rest() {
			shortest += 1 + max(1, len(term.argument)-1)
		}
	}
	if shortest > maxEncodedKey {
		return fmt.Errorf("%w: it asks for keys of %d bytes encoded, %d are allowed", ErrBadPattern, shortest, maxEncodedKey)
	}
	return nil
}

// String returns the text form that ParsePattern reads.
func (p Pattern) String() string {
	parts := make([]string, len(p.terms))
	for i, term := range p.terms {
		parts[i] = term.text
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
		switch {
		case term == Rest():
			return true
		case i == len(k):
			return false
		case term.argument[0] == '=' && Lit(k[i]) != term,
			term.argument[0] == '^' && !strings.HasPrefix(Prefix(k[i]).argument, term.argument):
			return false
		}
	}
	return len(k) == len(p.terms)
}
