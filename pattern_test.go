package wildkey_test

import (
	"errors"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
)

func TestPatternText(t *testing.T) {
	for _, row := range []struct {
		text  string
		terms []wildkey.Term
	}{
		{"user:*:session:**", []wildkey.Term{wildkey.Lit("user"), wildkey.Any(), wildkey.Lit("session"), wildkey.Rest()}},
		{"**", []wildkey.Term{wildkey.Rest()}},
		{"*", []wildkey.Term{wildkey.Any()}},
		{"abc*", []wildkey.Term{wildkey.Prefix("abc")}},
		{"a%3A*:%2A", []wildkey.Term{wildkey.Prefix("a:"), wildkey.Lit("*")}},
	} {
		want, err := wildkey.NewPattern(row.terms...)
		backend.Must(t, err)
		got, err := wildkey.ParsePattern(row.text)
		if err != nil || got.String() != row.text || want.String() != row.text {
			t.Errorf("%s: parsed %q, made %q, %v", row.text, got, want, err)
		}
	}
	for _, text := range []string{
		"", ":", "a::b", "a:", "**:x", "a:**:b", "***", "a**", "*a", "a*b", "**a", "a b", "a%3a", "%41", "%", "%2*", "a/b", "{a}", "é", "a:*:",
	} {
		if p, err := wildkey.ParsePattern(text); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("ParsePattern(%q): %q, %v", text, p, err)
		}
	}
	for name, terms := range map[string][]wildkey.Term{
		"no term":          {},
		"an empty literal": {wildkey.Lit("a"), wildkey.Lit("")},
		"an empty prefix":  {wildkey.Prefix("")},
		"Rest not last":    {wildkey.Rest(), wildkey.Lit("a")},
		"the zero Term":    {{}},
	} {
		if p, err := wildkey.NewPattern(terms...); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("%s: %q, %v", name, p, err)
		}
	}
	if got := wildkey.Under(wildkey.K("user", "a:b")).String(); got != "user:a%3Ab:**" {
		t.Errorf("Under is %q", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParsePattern of a bad pattern did not panic")
		}
	}()
	wildkey.MustParsePattern("a::b")
}

func TestPatternMatches(t *testing.T) {
	for _, row := range []struct {
		pattern, key string
		want         bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a:b", false}, {"a:b", "a", false},
		{"*", "a", true}, {"*", "a:b", false}, {"*:*", "a", false}, {"*:b", "a:b", true},
		{"**", "a", true}, {"**", "a:b:c", true}, {"a:**", "a", true}, {"a:**", "a:b:c", true}, {"a:**", "ab", false}, {"a:**", "b:a", false},
		{"a*", "a", true}, {"a*", "ab", true}, {"a*", "ab:c", false}, {"a*:c", "ab:c", true}, {"a*", "b", false},
		{"a*:**", "ab", true}, {"user:*:session:**", "user:1:session", true}, {"user:*:session:**", "user:1:sessions", false},
	} {
		key, err := wildkey.ParseKey(row.key)
		backend.Must(t, err)
		if got := wildkey.MustParsePattern(row.pattern).Matches(key); got != row.want {
			t.Errorf("%s matches %s: %t", row.pattern, row.key, got)
		}
	}
	if (wildkey.Pattern{}).Matches(wildkey.K("a")) {
		t.Error("the zero Pattern matches")
	}
	if wildkey.MustParsePattern("**").Matches(wildkey.K("a", "")) {
		t.Error("an invalid key is matched")
	}
}

// FuzzPattern expects that what ParsePattern reads comes back from its text.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"user:*:session:**", "a*:b", "**:x", "a::b", "%41"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := wildkey.ParsePattern(text)
		if err != nil {
			if !errors.Is(err, wildkey.ErrBadPattern) {
				t.Errorf("%q: %v is not ErrBadPattern", text, err)
			}
			return
		}
		again, err := wildkey.ParsePattern(p.String())
		if p.String() != text || err != nil || again.String() != text {
			t.Errorf("%q comes back as %q and %q, %v", text, p, again, err)
		}
	})
}
