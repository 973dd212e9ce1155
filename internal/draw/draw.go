// Package draw draws random keys and patterns that are close to each other.
package draw

import (
	"math/rand/v2"
	"testing"

	"github.com/wildkey/wildkey"
)

// Segments lie close together in byte order once encoded, around the colon
// that joins them: % - . digits are below it, letters and _ ~ above.
var Segments = []string{"4", "40", "4-", "4:", "4_", "a", "a:", "a;", "ab", "A", "-", ".", "~", "9", "\x00", "\xff", "z%", "%3A"}

// Few draws a few segments to make keys of: any, or neighbours.
func Few(random *rand.Rand) []string {
	few := make([]string, 1+random.IntN(6))
	first, near := random.IntN(len(Segments)-4), random.IntN(2) == 0
	for i := range few {
		few[i] = Segments[random.IntN(len(Segments))]
		if near {
			few[i] = Segments[first+random.IntN(5)]
		}
	}
	return few
}

// Pattern draws a pattern of keys under above, from the texts that segment draws.
func Pattern(t *testing.T, random *rand.Rand, segment func() string, above wildkey.Key) wildkey.Pattern {
	t.Helper()
	terms := make([]wildkey.Term, len(above)+random.IntN(5))
	literals := random.IntN(4) == 0 // as in most programs: literals alone, and then ** or a last wildcard
	for i := range above {
		terms[i] = []wildkey.Term{wildkey.Lit(above[i]), wildkey.Any()}[random.IntN(2)]
	}
	for i := len(above); i < len(terms); i++ {
		text, kind := segment(), random.IntN(8)
		if literals && i < len(terms)-1 {
			kind = 0
		}
		switch kind {
		case 0, 1:
			terms[i] = wildkey.Lit(text)
		case 2:
			terms[i] = wildkey.Prefix(text[:1])
		case 3:
			terms[i] = wildkey.Suffix(text[len(text)-1:])
		case 4:
			other := segment()
			terms[i] = wildkey.Affix(text[:1], other[len(other)-1:])
		case 5:
			terms[i] = between(text, segment())
		default:
			terms[i] = wildkey.Any()
		}
	}
	if len(terms) == 0 || random.IntN(3) == 0 {
		terms = append(terms, wildkey.Rest())
	}
	pattern, err := wildkey.NewPattern(terms...)
	if err != nil {
		t.Fatal(err)
	}
	return pattern
}

// between draws the order of its ends, and may leave one open.
func between(a, b string) wildkey.Term {
	term := wildkey.Between(a, b)
	if _, err := wildkey.NewPattern(term); err != nil {
		term = wildkey.Between(b, a)
	}
	switch {
	case a == b:
		return wildkey.Between(a, "")
	case len(a) > len(b):
		return wildkey.Between("", a)
	}
	return term
}
