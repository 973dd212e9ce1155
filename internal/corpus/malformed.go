package corpus

import (
	"slices"
	"strings"
)

// Call is a call of a script.
type Call struct {
	Keys []string
	Args []any
}

// MalformedCalls has, for each script, calls that no client should make. The
// first of each script is well-formed.
func MalformedCalls() map[string][]Call {
	return map[string][]Call{
		"put":    malformedPuts(),
		"delete": malformedDeletes(),
		"match":  malformedMatches(),
		"sweep":  malformedSweeps(),
	}
}

func malformedPuts() []Call {
	on := func(record string, args ...any) Call { return Call{[]string{"{t}/keys", record}, args} }
	two := func(index, first, second string, args ...any) Call { return Call{[]string{index, first, second}, args} }
	digest := strings.Repeat("0123456789abcdef", 3)[:40]
	calls := []Call{
		on("{t}:a", "1000", "*", "v"),
		{nil, nil},
		{[]string{"{t}/keys"}, nil},
		{[]string{"{t}:a"}, []any{"1000", "*", "v"}},
		{[]string{"{t}:a", "{t}/keys"}, []any{"1000", "*", "v"}},
		{[]string{"{t}/expiry", "{t}:a"}, []any{"1000", "*", "v"}},
		{[]string{"{u}/keys", "{t}:a"}, []any{"1000", "*", "v"}},
		{[]string{"t/keys", "t:a"}, []any{"1000", "*", "v"}},
		{[]string{"{}/keys", "{}:a"}, []any{"1000", "*", "v"}},
		{[]string{"{{t}}/keys", "{{t}}:a"}, []any{"1000", "*", "v"}},
		on("{t}:a"), on("{t}:a", "1000"), on("{t}:a", "1000", "*"), on("{t}:a", "1000", "*", "v", "*"),
		two("{t}/keys", "{t}:a", "{t}:b", "1000", "*", "v"),
		// The second record is wrong, and nothing is written of the first.
		two("{t}/keys", "{t}:b", "{t}:c", "1000", "*", "v", "x", "*", "v"),
		two("{t}/keys", "{t}:b", "{t}:c", "1000", "*", "v", "1000", "x", "v"),
		two("{t}/keys", "{t}:b", "{u}:c", "1000", "*", "v", "1000", "*", "v"),
		two("{t}/keys", "{t}:b", "{t}:c:", "delete", "*", "", "delete", "*", ""),
		two("{t}/keys", "{t}:b", "{t}:c", "1000", "*", "v", "delete", "*", "v"),
		// A key that comes twice, whatever is to be done to it.
		two("{t}/keys", "{t}:b", "{t}:b", "1000", "*", "v", "1000", "*", "v"),
		two("{t}/keys", "{t}:a", "{t}:a", "delete", "*", "", "delete", "*", ""),
		two("{t}/keys", "{t}:a", "{t}:a", "check", "+", "", "1000", "*", "v"),
		two("{t}/keys", "{t}:a", "{t}:a", "touch never", "*", "", "delete", "*", ""),
	}
	for _, record := range []string{
		"{u}:a", "a", "{t}a", "{t}/keys", "{t}:", "{t}::a", "{t}:a:", "{t}:a::b", "{t}:a b", "{t}:a*", "{t}:a/b", "{t}:{a}",
		"{t}:a#", "{t}:!", "{t}:!!a", "{t}:!a:!b", "{t}:a!", "{t}:!%41", "{t}:\x00", "{t}:\xff", "{t}:a\n", "{t}:%", "{t}:%4", "{t}:%zz", "{t}:%c3", "{t}:%41", "{t}:%2D",
		"{t}:%7E", "{t}:%:0", "{t}:" + strings.Repeat("a", 4097),
	} {
		calls = append(calls, on(record, "1000", "*", "v"), on(record, "delete", "*", ""))
	}
	for _, action := range []string{
		"", "0", "00", "01", "-1", "1.5", "1e3", "0x10", " 1", "1 ", "nan", "inf", "1000000000000000", "1\x00", "*", "put",
		"NEVER", "never ", "KEEP", "keep 1000", "-9223372036854775808", "9223372036854775807",
		"put 1000", "delete 1000", "check 1000", "Delete", "touch",
	} {
		calls = append(calls, on("{t}:a", action, "*", "v"), on("{t}:a", action, "*", ""))
	}
	for _, action := range []string{
		"touch ", "touch 0", "touch -1", "touch 01", "touch 1.5", "touch 1000000000000000", "touch  1000", "touch 1000 ",
		"touch keep", "touch NEVER", "touch touch 1000",
	} {
		calls = append(calls, on("{t}:a", action, "*", ""))
	}
	for _, action := range []string{"touch 1000", "touch never", "delete", "check"} {
		calls = append(calls, on("{t}:a", action, "+", "v"), on("{t}:a", action, "+", " "))
	}
	for _, condition := range []string{
		"", "**", "?", "-x", "+x", "!", "*\x00", "v", "#", "#" + digest[1:], "#" + digest + "0", "#" + strings.ToUpper(digest),
		"#" + digest[1:] + "g", digest,
	} {
		calls = append(calls, on("{t}:a", "1000", condition, "v"), on("{t}:a", "check", condition, ""))
	}
	return calls
}

func malformedDeletes() []Call {
	on := func(record string, args ...any) Call { return Call{[]string{"{t}/keys", record}, args} }
	return []Call{
		on("{t}:a", "count"),
		{nil, nil},
		{[]string{"{t}/keys"}, []any{"count"}},
		{[]string{"{t}:a"}, []any{"count"}},
		{[]string{"{t}:a", "{t}/keys"}, []any{"count"}},
		{[]string{"{u}/keys", "{t}:a"}, []any{"count"}},
		{[]string{"t/keys", "t:a"}, []any{"count"}},
		{[]string{"{t}/keys", "{t}:a", "{u}:b"}, []any{"count"}},
		on("{t}:a"), on("{t}:a", ""), on("{t}:a", "COUNT"), on("{t}:a", "count", "values"),
		on("{u}:a", "count"), on("{t}:", "count"), on("{t}/keys", "count"), on("{t}a", "count"), on("a", "count"),
	}
}

func malformedMatches() []Call {
	match := func(args ...any) Call { return Call{[]string{"{t}/keys"}, args} }
	calls := []Call{
		match("values", "", "10", "10", "1000", "=a"),
		{nil, nil},
		{nil, []any{"values", "", "10", "10", "1000", "*"}},
		{[]string{"{t}:a"}, []any{"values", "", "10", "10", "1000", "*"}},
		{[]string{"{t}/keys", "{t}:a"}, []any{"values", "", "10", "10", "1000", "*"}},
		{[]string{"{t}/keys", "{t}/expiry"}, []any{"values", "", "10", "10", "1000", "*"}},
		{[]string{"t/keys"}, []any{"values", "", "10", "10", "1000", "*"}},
		match(), match("values", "", "10", "10", "1000"),
		match("values", "", "10", "10", "1000", "**", "=a"), match("values", "", "10", "10", "1000", "=a", "**", "**"),
		match("values", "", "10", "10", "1000", "^"+strings.Repeat("a", 4095)+"*", "*"),
		match(append([]any{"values", "", "10", "10", "1000"}, slices.Repeat([]any{"*"}, 2049)...)...),
		match("values", "[a", "10", "10", "1000", "=a", "*"), match("values", "[a;", "10", "10", "1000", "=a", "*"),
		match("values", "[b", "10", "10", "1000", "^a*"), match("values", "[user", "10", "10", "1000", "=user", "=4", "**"),
		match("values", "-", "10", "10", "1000", "**"), match("values", "+", "10", "10", "1000", "**"),
		match("values", "[\xff\xff", "10", "10", "1000", "**"),
	}
	for _, want := range []string{"", "VALUES", "value", "records ", "lists", "live"} {
		calls = append(calls, match(want, "", "10", "10", "1000", "*"))
	}
	for _, bound := range []string{"", "0", "-1", "01", "1e1", "1.0", "x", "100000"} {
		calls = append(calls, match("values", "", bound, "10", "1000", "*"), match("values", "", "10", bound, "1000", "*"))
	}
	for _, bytes := range []string{"", "0", "-1", "01", "x", "1000000000"} {
		calls = append(calls, match("values", "", "10", "10", bytes, "*"))
	}
	for _, cursor := range []string{"a", "[", "(", "[b", "(Z", "-", "+"} {
		calls = append(calls, match("values", cursor, "10", "10", "1000", "=a"))
	}
	for _, term := range []string{"", "a", "=", "^", "=a:b", "=a b", "***", "=a\x00", "^a", "^*", "^a**", "^a*b*", "[<", "[a", "[a<b<c", "[b<a", "[a<a", "a<b", "^a<b", "[a*b",
		"=*", "=a*", "*a", "=" + strings.Repeat("a", 4097), "[" + strings.Repeat("a", 4097) + "<", "[<" + strings.Repeat("a", 4097)} {
		calls = append(calls, match("values", "", "10", "10", "1000", term))
	}
	calls = append(calls, match("list", "", "10", "10", "1000", "**"), match("list", "", "10", "10", "1000", "=a", "**"),
		match("list", "[a;", "10", "10", "1000", "=a"))
	return calls
}

func malformedSweeps() []Call {
	on := func(suspect string, args ...any) Call { return Call{[]string{"{t}/keys", suspect}, args} }
	return []Call{
		on("{t}:a"),
		{nil, nil},
		{[]string{"{t}:a"}, nil},
		{[]string{"t/keys", "t:a"}, nil},
		{[]string{"{t}:a", "{t}/keys"}, nil},
		{[]string{"{t}/keys", "{t}:a", "{u}:b"}, nil},
		on("{t}:a", ""), on("{t}:a", "10"), on("{u}:a"), on("{t}/keys"), on("{t}"), on("{t}a"),
	}
}
