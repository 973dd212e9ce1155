package wildkey_test

import (
	"errors"
	"strings"
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
		{"*%40example.com", []wildkey.Term{wildkey.Suffix("@example.com")}},
		{"a*z:a<z", []wildkey.Term{wildkey.Affix("a", "z"), wildkey.Between("a", "z")}},
		{"2024-01<:<%FF", []wildkey.Term{wildkey.Between("2024-01", ""), wildkey.Between("", "\xff")}},
	} {
		want, err := wildkey.NewPattern(row.terms...)
		backend.Must(t, err)
		got, err := wildkey.ParsePattern(row.text)
		if err != nil || got.String() != row.text || want.String() != row.text {
			t.Errorf("%s: parsed %q, made %q, %v", row.text, got, want, err)
		}
	}
	for _, text := range []string{
		"", ":", "a::b", "a:", "**:x", "a:**:b", "***", "a**", "**a", "a b", "a%3a", "%41", "%", "%2*", "a/b", "{a}", "é", "a:*:",
		"a*b*", "<", "a<b<c", "a<b*", "b<a", "a<a", "a%3c<b", "a>b", "a<b c",
	} {
		if p, err := wildkey.ParsePattern(text); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("ParsePattern(%q): %q, %v", text, p, err)
		}
	}
	for name, terms := range map[string][]wildkey.Term{
		"no term":          {},
		"an empty literal": {wildkey.Lit("a"), wildkey.Lit("")},
		"an empty prefix":  {wildkey.Prefix("")},
		"an empty suffix":  {wildkey.Suffix("")},
		"an empty range":   {wildkey.Between("", "")},
		"a range back":     {wildkey.Between("b", "a")},
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
		{"*b", "ab", true}, {"*b", "b", true}, {"*b", "ba", false}, {"a*b", "ab", true}, {"a*b", "axb", true}, {"ab*b", "ab", false},
		{"*A", "xA", true}, {"*A", "%2A", false}, {"*2A", "%2A", false}, {"*%2A", "x%2A", true},
		{"b<d", "b", true}, {"b<d", "cz", true}, {"b<d", "d", false}, {"b<d", "az", false}, {"b<", "z", true}, {"<b", "a", true},
		{"<b", "b", false}, {"4<5", "4-", true}, {"4<5:*", "4:x", true}, {"B<b", "a", true}, {"a<b", "B", false},
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

// TestPatternErrorsAdviseNothing: an error of a text that was meant for a pattern
// proposes none that means another one.
func TestPatternErrorsAdviseNothing(t *testing.T) {
	for text, want := range map[string]string{
		"a?c":       `term 1 has "?", which is no wildcard`,
		"user:{42}": `term 2 has "{", which is no wildcard`,
		"a:b c":     `term 2 has " ", which is no wildcard`,
		"a:é":       `term 2 has "é", which is no wildcard`,
		"a\xff":     `term 1 has "\xff", which is no wildcard; as a part of a segment it is %FF`,
		"a*b*c":     `term 1 has several wildcards`,
		"a:b**":     `term 2 has several wildcards`,
		"a:[0-9]":   `term 2 has "[", which is no wildcard`,
		"b<a":       `term 1, a range, ends before it begins`,
		"**:a":      `term 1, **, is not last`,
		"a::b":      `term 2 is empty`,
	} {
		_, err := wildkey.ParsePattern(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "not \"") {
			t.Errorf("%s: %v proposes a text", text, err)
		}
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
