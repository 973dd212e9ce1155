// Package corpus reads and runs the cases of scripts/testdata: what each script
// does, as text. The head of each file there describes its form.
package corpus

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
)

// Update is the flag of tests that can write the files that they check.
var Update = flag.Bool("update", false, "rewrite what is generated: scripts/testdata from the engine, scripts/AUDIT.md")

var ctx = context.Background()

// Case is one case of a script.
type Case struct {
	Name     string
	Steps    []Step
	Keyspace string // after the last step, as Dump writes it
}

// Step is one command of a case and the reply to it, as text.
type Step struct{ Command, Reply string }

// Path returns the file that has the cases of a script.
func Path(script string) string { return module.Path("scripts/testdata/" + script + ".txt") }

// Read returns the cases of a script.
func Read(t testing.TB, script string) []Case {
	t.Helper()
	_, cases := read(t, script)
	return cases
}

func read(t testing.TB, script string) (head string, cases []Case) {
	t.Helper()
	content, err := os.ReadFile(Path(script))
	backend.Must(t, err)
	head, body, _ := strings.Cut(string(content), "\ncase ")
	for _, text := range strings.Split("\n"+body, "\ncase ") {
		name, rest, _ := strings.Cut(strings.TrimPrefix(text, "\n"), "\n")
		steps, keyspace, ok := strings.Cut(rest, "keyspace\n")
		if !ok {
			t.Fatalf("%s: case %q has no keyspace", Path(script), name)
		}
		one := Case{Name: name, Keyspace: strings.TrimRight(keyspace, "\n")}
		for _, step := range strings.Split("\n"+strings.TrimRight(steps, "\n"), "\n> ")[1:] {
			command, reply, _ := strings.Cut(step, "\n")
			one.Steps = append(one.Steps, Step{command, reply})
		}
		cases = append(cases, one)
	}
	return head, cases
}

// Rewrite runs the cases of a script and writes them to its file as they come out.
func Rewrite(t *testing.T, b *backend.Backend, script string) {
	t.Helper()
	head, cases := read(t, script)
	text := strings.TrimRight(head, "\n") + "\n"
	for _, one := range cases {
		text += "\n" + one.Run(t, b).String()
	}
	backend.Must(t, os.WriteFile(Path(script), []byte(text), 0o666))
}

// String writes the case as its file has it.
func (c Case) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "case %s\n", c.Name)
	for _, step := range c.Steps {
		fmt.Fprintf(&b, "> %s\n", step.Command)
		if step.Reply != "" {
			fmt.Fprintf(&b, "%s\n", step.Reply)
		}
	}
	fmt.Fprintf(&b, "keyspace\n")
	if c.Keyspace != "" {
		fmt.Fprintf(&b, "%s\n", c.Keyspace)
	}
	return b.String()
}

// Run runs the commands of a case on an empty keyspace and returns the case as
// it came out.
func (c Case) Run(t *testing.T, b *backend.Backend) Case {
	t.Helper()
	b.LimitMemory(t, "0")
	b.Do(t, "FLUSHALL")
	now := b.Client.Time(ctx).Val().UnixMilli()
	got := Case{Name: c.Name}
	for _, step := range c.Steps {
		words := Words(t, step.Command, now)
		switch strings.ToUpper(words[0].(string)) {
		case "MAXMEMORY":
			b.LimitMemory(t, words[1].(string))
			got.Steps = append(got.Steps, step)
			continue
		case "EVALSHA", "EVALSHA_RO":
			words[1] = Load(t, b.Client, words[1].(string))
		}
		if words[0] == "EVALSHA_RO" && b.LacksReadOnlyScripts() {
			words[0] = "EVALSHA"
		}
		reply, err := b.Client.Do(ctx, words...).Result()
		if err != nil && err != redis.Nil {
			reply = err
		}
		got.Steps = append(got.Steps, Step{step.Command, FormatReply(reply)})
	}
	b.LimitMemory(t, "0")
	got.Keyspace = Dump(t, b.Client, now)
	return got
}

// Script returns the script of a name.
func Script(name string) wildkey.Script {
	scripts := wildkey.Scripts()
	return scripts[slices.IndexFunc(scripts, func(s wildkey.Script) bool { return s.Name == name })]
}

// Load loads a script and returns its digest.
func Load(t testing.TB, client *redis.Client, name string) string {
	t.Helper()
	digest, err := client.ScriptLoad(ctx, Script(name).Source).Result()
	backend.Must(t, err)
	return digest
}

var word = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[^ ]+`)

// Split returns the words of a command as they are written there.
func Split(command string) []string { return word.FindAllString(command, -1) }

// Words returns the words of a command for a case that starts at now, as
// strings: without quotes, and with times in the place of @+60000.
func Words(t testing.TB, command string, now int64) []any {
	t.Helper()
	var words []any
	for _, word := range Split(command) {
		switch {
		case strings.HasPrefix(word, `"`):
			text, err := strconv.Unquote(word)
			backend.Must(t, err)
			words = append(words, text)
		case strings.HasPrefix(word, "@"):
			offset, err := strconv.ParseInt(word[1:], 10, 64)
			backend.Must(t, err)
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
var raisedAt = regexp.MustCompile(`\.? *script: (?:[0-9a-f]{40}, )?on @user_script:\d+\.?$|^ERR Error running script .*@user_script: ?\d+: -?|\. ?$`)

// ErrorText returns an error of a server without the place in the script.
func ErrorText(err error) string { return raisedAt.ReplaceAllString(err.Error(), "") }

// FormatReply writes a reply as redis-cli does.
func FormatReply(reply any) string {
	switch reply := reply.(type) {
	case nil:
		return "(nil)"
	case int64:
		return fmt.Sprintf("(integer) %d", reply)
	case string:
		return strconv.QuoteToASCII(reply)
	case error:
		return "(error) " + ErrorText(reply)
	case []any:
		if len(reply) == 0 {
			return "(empty array)"
		}
		var lines []string
		for i, item := range reply {
			number := fmt.Sprintf("%d) ", i+1)
			indented := strings.ReplaceAll(FormatReply(item), "\n", "\n"+strings.Repeat(" ", len(number)))
			lines = append(lines, number+indented)
		}
		return strings.Join(lines, "\n")
	}
	return fmt.Sprintf("(%T) %v", reply, reply)
}

// Dump writes the keyspace with times relative to now. On a redis-server some
// milliseconds pass between now and a command, so times are rounded to ten
// seconds.
func Dump(t testing.TB, client *redis.Client, now int64) string {
	t.Helper()
	names, err := client.Keys(ctx, "*").Result()
	backend.Must(t, err)
	slices.Sort(names)
	var lines []string
	for _, name := range names {
		kind := client.Type(ctx, name).Val()
		line := strconv.QuoteToASCII(name) + " " + kind
		if kind == "string" {
			line += " " + strconv.QuoteToASCII(client.Get(ctx, name).Val())
		}
		if expiry, _ := backend.ExpiresAt(t, client, name); expiry >= 0 {
			line += fmt.Sprintf(" expires @%+d", (expiry-now+5_000)/10_000*10_000)
		}
		lines = append(lines, line)
		if kind != "zset" {
			continue
		}
		for _, member := range client.ZRangeWithScores(ctx, name, 0, -1).Val() {
			score := strconv.FormatFloat(member.Score, 'f', -1, 64)
			lines = append(lines, "  "+strconv.QuoteToASCII(member.Member.(string))+" "+score)
		}
	}
	return strings.Join(lines, "\n")
}
