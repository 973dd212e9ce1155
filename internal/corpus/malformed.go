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
	indexes := []string{"{t}/keys", "{t}/expiry"}
	long := "{t}:" + strings.Repeat("a", 4097)
	put := func(record string, args ...any) Call { return Call{append(indexes[:2:2], record), args} }
	match := func(args ...any) Call { return Call{indexes, args} }
	return map[string][]Call{
		"put": {
			put("{t}:a", "v", "1000", "*"),
			{nil, nil}, {indexes[:1], nil}, {indexes, nil}, {[]string{"{t}/keys", "{u}/expiry", "{t}:a"}, []any{"v", "1000", "*"}},
			{[]string{"{t}/expiry", "{t}/keys", "{t}:a"}, []any{"v", "1000", "*"}}, {[]string{"t/keys", "t/expiry", "t:a"}, []any{"v", "1000", "*"}},
			{[]string{"{}/keys", "{}/expiry", "{}:a"}, []any{"v", "1000", "*"}}, {[]string{"{{t}}/keys", "{{t}}/expiry", "{{t}}:a"}, []any{"v", "1000", "*"}},
			put("{t}:a"), put("{t}:a", "v"), put("{t}:a", "v", "1000"), put("{t}:a", "v", "1000", "*", "*"),
			put("{u}:a", "v", "1000", "*"), put("a", "v", "1000", "*"), put("{t}a", "v", "1000", "*"), put("{t}/keys", "v", "1000", "*"),
			put("{t}:", "v", "1000", "*"), put("{t}::a", "v", "1000", "*"), put("{t}:a:", "v", "1000", "*"), put("{t}:a::b", "v", "1000", "*"),
			put("{t}:a b", "v", "1000", "*"), put("{t}:a*", "v", "1000", "*"), put("{t}:a/b", "v", "1000", "*"), put("{t}:{a}", "v", "1000", "*"),
			put("{t}:a#", "v", "1000", "*"), put("{t}:\x00", "v", "1000", "*"), put("{t}:\xff", "v", "1000", "*"), put("{t}:a\n", "v", "1000", "*"),
			put("{t}:%", "v", "1000", "*"), put("{t}:%4", "v", "1000", "*"), put("{t}:%zz", "v", "1000", "*"), put("{t}:%c3", "v", "1000", "*"),
			put("{t}:%41", "v", "1000", "*"), put("{t}:%2D", "v", "1000", "*"), put("{t}:%7E", "v", "1000", "*"), put("{t}:%:0", "v", "1000", "*"),
			put(long, "v", "1000", "*"),
			put("{t}:a", "v", "", "*"), put("{t}:a", "v", "-1", "*"), put("{t}:a", "v", "1.5", "*"), put("{t}:a", "v", "1e3", "*"),
			put("{t}:a", "v", "0x10", "*"), put("{t}:a", "v", " 1", "*"), put("{t}:a", "v", "00", "*"), put("{t}:a", "v", "01", "*"),
			put("{t}:a", "v", "nan", "*"), put("{t}:a", "v", "inf", "*"), put("{t}:a", "v", "1000000000000000", "*"), put("{t}:a", "v", "keep", "*"),
			put("{t}:a", "v", "1\x00", "*"),
			put("{t}:a", "v", "1000", ""), put("{t}:a", "v", "1000", "**"), put("{t}:a", "v", "1000", "?"), put("{t}:a", "v", "1000", "-x"),
			put("{t}:a", "v", "1000", "*\x00"),
			// The first record is right, the second is not: nothing is written either.
			{append(indexes[:2:2], "{t}:a", "{t}:b"), []any{"v", "1000", "*", "v", "x", "*"}},
			{append(indexes[:2:2], "{t}:a", "{u}:b"), []any{"v", "1000", "*", "v", "1000", "*"}},
		},
		"delete": {
			put("{t}:a", "count"),
			{nil, nil}, {indexes, []any{"count"}}, {[]string{"{t}/keys", "{u}/expiry", "{t}:a"}, []any{"count"}},
			put("{t}:a"), put("{t}:a", ""), put("{t}:a", "COUNT"), put("{t}:a", "count", "values"), put("{u}:a", "count"),
			put("{t}:", "count"), put("{t}/keys", "count"), put("a", "count"),
			{append(indexes[:2:2], "{t}:a", "{u}:b"), []any{"count"}},
		},
		"touch": {
			put("{t}:a", "1000"),
			{nil, nil}, {indexes, nil}, {[]string{"{t}/keys", "{u}/expiry", "{t}:a"}, []any{"1000"}},
			put("{t}:a"), put("{t}:a", "1000", "1000"), put("{t}:a", ""), put("{t}:a", "-1"), put("{t}:a", "KEEP"), put("{t}:a", "1.0"),
			put("{t}:a", "1000000000000000"), put("{t}:a", "00"), put("{u}:a", "1000"), put("{t}:", "1000"), put("{t}/expiry", "1000"),
			{append(indexes[:2:2], "{t}:a", "{t}:b"), []any{"1000", "x"}},
		},
		"match": {
			match("values", "", "10", "10", "1000", "=a"),
			{nil, nil}, {indexes[:1], []any{"values", "", "10", "10", "1000", "*"}}, {append(indexes[:2:2], "{t}:a"), []any{"values", "", "10", "10", "1000", "*"}},
			{[]string{"{t}/keys", "{u}/expiry"}, []any{"values", "", "10", "10", "1000", "*"}},
			match(), match("values", "", "10", "10", "1000"), match("", "", "10", "10", "1000", "*"), match("VALUES", "", "10", "10", "1000", "*"),
			match("values", "", "0", "10", "1000", "*"), match("values", "", "-1", "10", "1000", "*"), match("values", "", "100000", "10", "1000", "*"),
			match("values", "", "", "10", "1000", "*"), match("values", "", "1e1", "10", "1000", "*"), match("values", "", "10", "0", "1000", "*"),
			match("values", "", "10", "100000", "1000", "*"), match("values", "", "10", "10", "0", "*"), match("values", "", "10", "10", "1000000000", "*"),
			match("values", "", "10", "10", "x", "*"), match("values", "", "01", "10", "1000", "*"),
			match("values", "", "10", "10", "1000", ""), match("values", "", "10", "10", "1000", "a"), match("values", "", "10", "10", "1000", "="),
			match("values", "", "10", "10", "1000", "^"), match("values", "", "10", "10", "1000", "=a:b"), match("values", "", "10", "10", "1000", "=a b"),
			match("values", "", "10", "10", "1000", "**", "=a"), match("values", "", "10", "10", "1000", "***"), match("values", "", "10", "10", "1000", "=a\x00"),
			match("values", "", "10", "10", "1000", "^a*"), match("values", "", "10", "10", "1000", "=*"),
			match("values", "a", "10", "10", "1000", "=a"), match("values", "[", "10", "10", "1000", "=a"), match("values", "[b", "10", "10", "1000", "=a"),
			match("values", "(Z", "10", "10", "1000", "=a"), match("values", "-", "10", "10", "1000", "**"), match("values", "+", "10", "10", "1000", "**"),
			match("values", "[\xff\xff", "10", "10", "1000", "**"), match("values", "[a", "10", "10", "1000", "=a", "*"),
			match("values", "[a;", "10", "10", "1000", "=a", "*"), match("values", "[b", "10", "10", "1000", "^a"), match("values", "[user", "10", "10", "1000", "=user", "=4", "**"),
			match("values", "", "10", "10", "1000", "="+strings.Repeat("a", 4097)), match("values", "", "10", "10", "1000", "^"+strings.Repeat("a", 4095), "*"),
			match(append([]any{"values", "", "10", "10", "1000"}, slices.Repeat([]any{"*"}, 2049)...)...),
		},
		"sweep": {
			{indexes, []any{"10"}},
			{nil, nil}, {indexes, nil}, {indexes, []any{""}}, {indexes, []any{"-1"}}, {indexes, []any{"100000"}}, {indexes, []any{"1.5"}},
			{indexes, []any{"x"}}, {indexes, []any{"10", "10"}}, {[]string{"{t}/keys", "{u}/expiry"}, []any{"10"}},
			{indexes, []any{"00"}}, {indexes, []any{"010"}},
			put("{u}:a", "10"), put("{t}/keys", "10"), put("{t}", "10"),
		},
	}
}
