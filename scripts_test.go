package wildkey_test

import (
	"crypto/sha1"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

var update = flag.Bool("update", false, "rewrite what is generated: scripts/testdata from the engine, scripts/AUDIT.md")

// corpusCase is one case of scripts/testdata/*.txt; the format is described at
// the head of each of those files.
type corpusCase struct {
	name     string
	steps    []corpusStep
	keyspace string
}

type corpusStep struct {
	command string // as written
	reply   string
}

// TestCorpus runs every case on the engine and on a redis-server, and expects
// the same replies and the same keyspace of both.
func TestCorpus(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		t.Run(script.Name, func(t *testing.T) {
			path := filepath.Join("scripts", "testdata", script.Name+".txt")
			head, cases := readCorpus(t, path)
			if len(cases) < 10 {
				t.Errorf("%s has %d cases; at least ten are wanted", path, len(cases))
			}
			if *update {
				onEngine(t, func(t *testing.T, b *backend) { writeCorpus(t, b, path, head, cases) })
				_, cases = readCorpus(t, path)
			}
			onBackends(t, func(t *testing.T, b *backend) {
				for _, want := range cases {
					t.Run(want.name, func(t *testing.T) {
						got := runCase(t, b, want)
						if diff := cmp.Diff(formatCase(want), formatCase(got)); diff != "" {
							t.Errorf("(-want +got)\n%s", diff)
						}
						b.checkInvariant(t)
					})
				}
			})
		})
	}
}

func readCorpus(t *testing.T, path string) (head string, cases []corpusCase) {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	head, body, _ := strings.Cut(string(content), "\ncase ")
	for _, text := range strings.Split("\n"+body, "\ncase ") {
		name, rest, _ := strings.Cut(strings.TrimPrefix(text, "\n"), "\n")
		steps, keyspace, ok := strings.Cut(rest, "keyspace\n")
		if !ok {
			t.Fatalf("%s: case %q has no keyspace", path, name)
		}
		one := corpusCase{name: name, keyspace: strings.TrimRight(keyspace, "\n")}
		for _, step := range strings.Split("\n"+strings.TrimRight(steps, "\n"), "\n> ")[1:] {
			command, reply, _ := strings.Cut(step, "\n")
			one.steps = append(one.steps, corpusStep{command, reply})
		}
		cases = append(cases, one)
	}
	return head, cases
}

func writeCorpus(t *testing.T, b *backend, path, head string, cases []corpusCase) {
	t.Helper()
	text := strings.TrimRight(head, "\n") + "\n"
	for _, one := range cases {
		text += "\n" + formatCase(runCase(t, b, one))
	}
	must(t, os.WriteFile(path, []byte(text), 0o666))
}

func formatCase(one corpusCase) string {
	var b strings.Builder
	fmt.Fprintf(&b, "case %s\n", one.name)
	for _, step := range one.steps {
		fmt.Fprintf(&b, "> %s\n", step.command)
		if step.reply != "" {
			fmt.Fprintf(&b, "%s\n", step.reply)
		}
	}
	fmt.Fprintf(&b, "keyspace\n")
	if one.keyspace != "" {
		fmt.Fprintf(&b, "%s\n", one.keyspace)
	}
	return b.String()
}

// runCase runs the commands of a case on an empty keyspace and returns the
// case as it came out.
func runCase(t *testing.T, b *backend, one corpusCase) corpusCase {
	t.Helper()
	b.limitMemory(t, "0")
	b.do(t, "FLUSHALL")
	now := b.client.Time(ctx).Val().UnixMilli()
	got := corpusCase{name: one.name}
	for _, step := range one.steps {
		words := corpusWords(t, step.command, now)
		switch strings.ToUpper(words[0].(string)) {
		case "MAXMEMORY":
			b.limitMemory(t, words[1].(string))
			got.steps = append(got.steps, step)
			continue
		case "EVALSHA", "EVALSHA_RO":
			words[1] = load(t, b.client, words[1].(string))
		}
		if words[0] == "EVALSHA_RO" && lacksReadOnlyScripts(b) {
			words[0] = "EVALSHA"
		}
		reply, err := b.client.Do(ctx, words...).Result()
		if err != nil && err != redis.Nil {
			reply = err
		}
		got.steps = append(got.steps, corpusStep{step.command, formatReply(reply)})
	}
	b.limitMemory(t, "0")
	got.keyspace = dump(t, b.client, now)
	return got
}

// load loads a script and returns its digest.
func load(t testing.TB, client *redis.Client, name string) string {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("scripts", name+".lua"))
	must(t, err)
	digest, err := client.ScriptLoad(ctx, string(source)).Result()
	must(t, err)
	return digest
}

var corpusWord = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^ ]+`)

func corpusWords(t *testing.T, command string, now int64) []any {
	t.Helper()
	var words []any
	for _, word := range corpusWord.FindAllString(command, -1) {
		switch {
		case strings.HasPrefix(word, `"`):
			text, err := strconv.Unquote(word)
			must(t, err)
			words = append(words, text)
		case strings.HasPrefix(word, "@"):
			offset, err := strconv.ParseInt(word[1:], 10, 64)
			must(t, err)
			words = append(words, strconv.FormatInt(now+offset, 10))
		default:
			words = append(words, word)
		}
	}
	return words
}

// raisedAt is what Redis adds to an error that redis.call raised, behind it or
// in version 6.2 before it. It says where in which edition of the script, which
// is not what a case is about.
var raisedAt = regexp.MustCompile(`\.? *script: [0-9a-f]{40}, on @user_script:\d+\.$|^ERR Error running script .*@user_script: ?\d+: -?|\. ?$`)

// formatReply writes a reply as redis-cli does.
func formatReply(reply any) string {
	switch reply := reply.(type) {
	case nil:
		return "(nil)"
	case int64:
		return fmt.Sprintf("(integer) %d", reply)
	case string:
		return strconv.QuoteToASCII(reply)
	case error:
		return "(error) " + raisedAt.ReplaceAllString(reply.Error(), "")
	case []any:
		if len(reply) == 0 {
			return "(empty array)"
		}
		var lines []string
		for i, item := range reply {
			number := fmt.Sprintf("%d) ", i+1)
			indented := strings.ReplaceAll(formatReply(item), "\n", "\n"+strings.Repeat(" ", len(number)))
			lines = append(lines, number+indented)
		}
		return strings.Join(lines, "\n")
	}
	return fmt.Sprintf("(%T) %v", reply, reply)
}

// dump writes the keyspace with times relative to now. On a redis-server some
// milliseconds pass between now and a script's own TIME; times are rounded to
// ten seconds, so that these do not show, and checkInvariant compares exactly.
func dump(t *testing.T, client *redis.Client, now int64) string {
	t.Helper()
	at := func(ms float64) string {
		return fmt.Sprintf("@%+d", int64(math.Round((ms-float64(now))/10_000))*10_000)
	}
	names, err := client.Keys(ctx, "*").Result()
	must(t, err)
	slices.Sort(names)
	var lines []string
	for _, name := range names {
		kind := client.Type(ctx, name).Val()
		line := strconv.QuoteToASCII(name) + " " + kind
		if kind == "string" {
			line += " " + strconv.QuoteToASCII(client.Get(ctx, name).Val())
		}
		if expiry, _ := expiresAt(t, client, name); expiry >= 0 {
			line += " expires " + at(float64(expiry))
		}
		lines = append(lines, line)
		if kind != "zset" {
			continue
		}
		members := client.ZRangeWithScores(ctx, name, 0, -1).Val()
		// Two scores may be the same or not by a millisecond that the dump does not show.
		slices.SortFunc(members, func(a, b redis.Z) int { return strings.Compare(a.Member.(string), b.Member.(string)) })
		for _, member := range members {
			score := strconv.FormatFloat(member.Score, 'f', -1, 64)
			if strings.HasSuffix(name, "/expiry") {
				score = at(member.Score)
			}
			lines = append(lines, "  "+strconv.QuoteToASCII(member.Member.(string))+" "+score)
		}
	}
	return strings.Join(lines, "\n")
}

var headerLine = regexp.MustCompile(`^-- (PURPOSE|KEYS|ARGV|RETURNS|ERRORS|COST|COMMANDS) +(.*)$`)

// TestScriptHeaders holds the header of each script against its form, and the
// COMMANDS there against the source and against what the corpus makes it call.
func TestScriptHeaders(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		t.Run(script.Name, func(t *testing.T) {
			var fields, listed []string
			for _, line := range strings.Split(script.Source, "\n") {
				if field := headerLine.FindStringSubmatch(line); field != nil {
					fields = append(fields, field[1])
					if field[1] == "COMMANDS" {
						listed = strings.Fields(field[2])
					}
				}
			}
			if diff := cmp.Diff(strings.Fields("PURPOSE KEYS ARGV RETURNS ERRORS COST COMMANDS"), fields); diff != "" {
				t.Errorf("header fields (-want +got)\n%s", diff)
			}

			if diff := cmp.Diff(listed, sourceCommands(t, script)); diff != "" {
				t.Errorf("COMMANDS against the source (-listed +called)\n%s", diff)
			}

			onEngine(t, func(t *testing.T, b *backend) {
				called := map[string]bool{}
				_, cases := readCorpus(t, filepath.Join("scripts", "testdata", script.Name+".txt"))
				for _, one := range cases {
					b.engine.ResetTrace()
					runCase(t, b, one)
					for _, call := range b.engine.Trace() {
						if call.Script == script.SHA1 {
							called[call.Args[0]] = true
						}
					}
				}
				if diff := cmp.Diff(listed, slices.Sorted(maps.Keys(called))); diff != "" {
					t.Errorf("COMMANDS against the corpus (-listed +called)\n%s", diff)
				}
			})
		})
	}
}

// sourceCommands is what the text of a script calls, sorted.
func sourceCommands(t *testing.T, script wildkey.Script) []string {
	t.Helper()
	written := map[string]bool{}
	for _, call := range regexp.MustCompile(`redis\.p?call\(([^,)]*)`).FindAllStringSubmatch(script.Source, -1) {
		name, err := strconv.Unquote(strings.ReplaceAll(call[1], "'", `"`))
		if err != nil {
			t.Errorf("%s.lua: redis.call(%s: the command is not written out", script.Name, call[1])
		}
		written[name] = true
	}
	return slices.Sorted(maps.Keys(written))
}

// TestPortability refuses what the design's portability rules refuse and a
// look at the text can tell.
func TestPortability(t *testing.T) {
	forbidden := regexp.MustCompile(`\bpairs\(|\bgoto\b|\bcjson\b|\bcmsgpack\b|'KEYS'|'SCAN'|tostring\(|#!lua|\brequire\b|\r`)
	for _, script := range wildkey.Scripts() {
		code := strings.ReplaceAll(script.Source, "ipairs(", "")
		if found := forbidden.FindString(code); found != "" {
			t.Errorf("%s.lua uses %q", script.Name, found)
		}
		if n := strings.Count(script.Source, "redis.call('TIME')"); n > 1 {
			t.Errorf("%s.lua asks for the time %d times", script.Name, n)
		}
	}
}

// TestSHA1SUMS holds the file that operators pin scripts by against the scripts.
func TestSHA1SUMS(t *testing.T) {
	content, err := os.ReadFile("scripts/SHA1SUMS")
	must(t, err)
	var want string
	for _, script := range wildkey.Scripts() {
		source, err := os.ReadFile("scripts/" + script.Name + ".lua")
		must(t, err)
		digest := sha1.Sum(source)
		want += hex.EncodeToString(digest[:]) + "  " + script.Name + ".lua\n"
		if script.SHA1 != hex.EncodeToString(digest[:]) || script.Source != string(source) {
			t.Errorf("Scripts() does not have %s.lua as it is in scripts/", script.Name)
		}
	}
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Errorf("run: make sums (-want +got)\n%s", diff)
	}
}

// scriptCall is a call of a script.
type scriptCall struct {
	keys []string
	args []any
}

// malformedCalls has, for each script, calls that no client should make. The
// first of each script is well-formed.
func malformedCalls() map[string][]scriptCall {
	indexes := []string{"{t}/keys", "{t}/expiry"}
	long := "{t}:" + strings.Repeat("a", 4097)
	put := func(record string, args ...any) scriptCall { return scriptCall{append(indexes[:2:2], record), args} }
	match := func(args ...any) scriptCall { return scriptCall{indexes, args} }
	return map[string][]scriptCall{
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

// TestMalformedArguments expects BADARG of each malformed call, and not one write.
func TestMalformedArguments(t *testing.T) {
	for name, calls := range malformedCalls() {
		t.Run(name, func(t *testing.T) {
			onBackends(t, func(t *testing.T, b *backend) {
				digest := load(t, b.client, name)
				if err := b.client.EvalSha(ctx, digest, calls[0].keys, calls[0].args...).Err(); err != nil {
					t.Fatalf("the well-formed call: %v", err)
				}
				before := dumpExact(t, b)
				for _, call := range calls[1:] {
					err := b.client.EvalSha(ctx, digest, call.keys, call.args...).Err()
					if !redis.HasErrorPrefix(err, "BADARG "+name+": ") {
						t.Errorf("%.200q %.200q: %v, want BADARG", call.keys, call.args, err)
					}
					if diff := cmp.Diff(before, dumpExact(t, b)); diff != "" {
						t.Fatalf("%.200q %.200q: the keyspace changed\n%s", call.keys, call.args, diff)
					}
				}
			})
		})
	}
}

// dumpExact is the keyspace with absolute times, to be compared with itself.
func dumpExact(t *testing.T, b *backend) string {
	t.Helper()
	if b.engine != nil {
		return b.engine.Dump()
	}
	return dump(t, b.client, 0)
}
