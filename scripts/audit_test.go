// Package scripts holds AUDIT.md, which operators read before they run the
// scripts, against the scripts, their corpus and real servers.
package scripts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/header"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

const (
	auditPage     = "scripts/AUDIT.md"
	auditTemplate = "scripts/AUDIT.md.tmpl"
)

// audit is what the template of the page is filled with.
type audit struct {
	Bounds   bounds
	Measured string // what the benchmark says it has measured
	Scripts  []auditedScript
}

type auditedScript struct {
	wildkey.Script
	Purpose, Keys, Returns, Cost string
	FullServer                   string // what it does there
	Access                       []access
	Commands, Functions          []string // of Redis and of the table redis
	Collecting                   []string // those of the commands that only put.lua's collecting calls
	Refusals                     []string // replies written out in the source
	ServerErrors                 []string // codes
	Calls                        int      // commands in one call, at default bounds
	CallsAt                      string
	Longest                      measured
	ACL                          []string
}

// Lines is how long the script is.
func (s auditedScript) Lines() int { return strings.Count(s.Source, "\n") }

// Writes tells whether the script was seen to call a command that writes.
func (s auditedScript) Writes() bool {
	return slices.ContainsFunc(s.Access, func(a access) bool { return len(a.Write) > 0 })
}

// access is which commands touch what a key holds.
type access struct {
	Key         string
	Read, Write []string
}

// TestAudit holds scripts/AUDIT.md against the scripts, their corpus and the
// benchmark's results; -update writes it.
func TestAudit(t *testing.T) {
	calls := measuredCalls(t)
	page := audit{Bounds: defaultBounds(t), Measured: calls.Title}
	for _, script := range wildkey.Scripts() {
		audited := auditOf(t, script, page.Bounds)
		audited.Longest = calls.longest(t, script.Name)
		page.Scripts = append(page.Scripts, audited)
	}
	functions := template.FuncMap{
		"code": code,
		"inc":  func(i int) int { return i + 1 },
		"ms":   func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) },
	}
	parsed, err := template.New(filepath.Base(auditTemplate)).Funcs(functions).ParseFiles(module.Path(auditTemplate))
	backend.Must(t, err)
	var text bytes.Buffer
	backend.Must(t, parsed.Execute(&text, page))
	if t.Failed() {
		return // what contradicts itself is not written down
	}
	if *corpus.Update {
		backend.Must(t, os.WriteFile(module.Path(auditPage), text.Bytes(), 0o666))
	}
	content, err := os.ReadFile(module.Path(auditPage))
	backend.Must(t, err)
	if diff := cmp.Diff(text.String(), string(content)); diff != "" {
		t.Errorf("run: make generated (-want +%s)\n%s", auditPage, diff)
	}
}

// code marks words as code, for a cell of a table.
func code(words []string) string {
	if len(words) == 0 {
		return "–"
	}
	return "`" + strings.Join(words, "` `") + "`"
}

func auditOf(t *testing.T, script wildkey.Script, bounds bounds) auditedScript {
	t.Helper()
	a := auditedScript{
		Script:   script,
		Purpose:  header.Text(script, "PURPOSE"),
		Keys:     header.Text(script, "KEYS"),
		Returns:  header.Text(script, "RETURNS"),
		Cost:     header.Text(script, "COST"),
		Commands: header.CalledCommands(t, script),
		Refusals: refusals(script),
	}
	for _, member := range regexp.MustCompile(`\bredis\.(\w+)`).FindAllStringSubmatch(script.Source, -1) {
		a.Functions = append(a.Functions, "redis."+member[1])
	}
	slices.Sort(a.Functions)
	a.Functions = slices.Compact(a.Functions)

	code := regexp.MustCompile(`--.*|'(?:[^'\\]|\\.)*'`).ReplaceAllString(script.Source, "")
	for _, library := range regexp.MustCompile(`\b(\w+)\.\w`).FindAllStringSubmatch(code, -1) {
		isLocal := regexp.MustCompile(`local [^=\n]*\b` + library[1] + `\b`).MatchString(code)
		if !isLocal && !slices.Contains([]string{"math", "redis", "string", "table"}, library[1]) {
			t.Errorf("%s.lua uses the library %s", script.Name, library[1])
		}
	}

	seen := traceCorpus(t, script)
	if diff := cmp.Diff(a.Commands, slices.Sorted(maps.Keys(seen.commands))); diff != "" {
		t.Errorf("%s.lua: the commands of the source against those of the traces (-source +traces)\n%s", script.Name, diff)
	}
	a.Access, a.FullServer, a.Collecting = seen.access(), seen.fullServer(), seen.collecting()
	a.ACL = []string{aclLine("+evalsha", "~", a)}
	if !a.Writes() {
		a.ACL = []string{aclLine("+evalsha_ro", "%R~", a), aclLine("+evalsha", "~", a)}
	}

	_, listed, _ := strings.Cut(header.Text(script, "ERRORS"), "from the server: ")
	listed, _, _ = strings.Cut(listed, ";")
	a.ServerErrors = strings.Split(listed, ", ")
	for _, reply := range seen.errors {
		known := slices.Contains(a.ServerErrors, strings.Fields(reply)[0]) ||
			slices.ContainsFunc(a.Refusals, func(format string) bool { return refusalPattern(format).MatchString(reply) })
		if !known {
			t.Errorf("%s.lua: neither its ERRORS nor its source tell of the error %q", script.Name, reply)
		}
	}
	for _, code := range []string{"OOM", "WRONGTYPE"} {
		provoked := slices.ContainsFunc(seen.errors, func(reply string) bool { return strings.HasPrefix(reply, code+" ") })
		if provoked != slices.Contains(a.ServerErrors, code) {
			t.Errorf("%s.lua: its ERRORS say %v; does the corpus provoke %s? %t", script.Name, a.ServerErrors, code, provoked)
		}
	}
	for _, format := range a.Refusals {
		// No single server with all permissions gives cause for these: see internal/suites/scripts.
		elsewhere := strings.HasPrefix(format, "NOPERM ") || strings.HasPrefix(format, "TRYAGAIN ")
		if !elsewhere && !slices.ContainsFunc(seen.errors, refusalPattern(format).MatchString) {
			t.Errorf("%s.lua: no case provokes %q", script.Name, format)
		}
	}

	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		locals, reply, at := bounds.worst(t, script.Name)
		a.CallsAt, a.Calls = at, header.CallBudget(t, b, script.Name, locals, reply)
	})
	return a
}

// refusals are the formats of the errors that a script itself replies.
func refusals(script wildkey.Script) []string {
	var formats []string
	replies := regexp.MustCompile(`(refuse|error_reply)\('([^']*)'(\)| \.\. \w+\))?`)
	for _, call := range replies.FindAllStringSubmatch(script.Source, -1) {
		switch {
		case call[1] == "refuse":
			formats = append(formats, "BADARG "+script.Name+": "+call[2])
		case call[3] == ")":
			formats = append(formats, call[2])
		case call[3] != "":
			formats = append(formats, call[2]+"%s")
		}
	}
	return formats
}

// ShownRefusals have KEYS[i] for any i, N for any number, ... for any other text.
func (s auditedScript) ShownRefusals() []string {
	var shown []string
	for _, format := range s.Refusals {
		shown = append(shown, strings.NewReplacer("[%d]", "[i]", "%d", "N", "%s:", "{ns}:", "%s", "...").Replace(format))
	}
	return slices.Compact(shown)
}

func refusalPattern(format string) *regexp.Regexp {
	pattern := strings.NewReplacer("%d", "-?[0-9]+", "%s", ".*").Replace(regexp.QuoteMeta(format))
	return regexp.MustCompile("^" + pattern + "$")
}

// What a key of a namespace holds.
const (
	index        = "index `{ns}/keys`"
	records      = "records in KEYS"
	otherRecords = "other records `{ns}:…`"
)

// kindOf tells what a key holds, for a script that was given the keys declared.
func kindOf(key string, declared []string) string {
	tag, isIndex := strings.CutSuffix(declared[0], "/keys")
	switch {
	case isIndex && key == declared[0]:
		return index
	case isIndex && strings.HasPrefix(key, tag+":") && slices.Contains(declared, key):
		return records
	case isIndex && strings.HasPrefix(key, tag+":"):
		return otherRecords
	}
	return "other keys"
}

// seen is what a script was seen to do.
type seen struct {
	commands map[string]bool            // and whether they were called before any collecting
	reads    map[string]map[string]bool // commands by what the key holds
	writes   map[string]map[string]bool
	errors   []string
	// On a server whose memory is full:
	refusesFull, worksFull bool
}

// fullServer tells what the script does on a server whose memory is full.
func (s seen) fullServer() string {
	switch {
	case s.refusesFull && s.worksFull:
		return "refuses to put, and works without a put"
	case s.refusesFull:
		return "refuses"
	}
	return "works"
}

func (s seen) access() []access {
	var all []access
	for _, kind := range []string{index, records, otherRecords} {
		if len(s.reads[kind])+len(s.writes[kind]) > 0 {
			all = append(all, access{kind, slices.Sorted(maps.Keys(s.reads[kind])), slices.Sorted(maps.Keys(s.writes[kind]))})
		}
	}
	return all
}

// collecting returns the commands that were called in collecting alone.
func (s seen) collecting() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.commands)), func(command string) bool { return s.commands[command] })
}

// traceCorpus runs the corpus and the malformed calls of a script, and holds
// what it calls against what it was given: it writes keys that were declared
// and reads keys of the same tag. Collecting begins with ZRANDMEMBER.
func traceCorpus(t *testing.T, script wildkey.Script) seen {
	t.Helper()
	s := seen{
		commands: map[string]bool{},
		reads:    map[string]map[string]bool{},
		writes:   map[string]map[string]bool{},
	}
	add := func(to map[string]map[string]bool, kind, command string) {
		if to[kind] == nil {
			to[kind] = map[string]bool{}
		}
		to[kind][command] = true
	}
	failed := func(reply string) {
		if reply, ok := strings.CutPrefix(reply, "(error) "); ok && !slices.Contains(s.errors, reply) {
			s.errors = append(s.errors, reply)
		}
	}
	judge := luatest.New()
	defer judge.Close()
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		for _, one := range corpus.Read(t, script.Name) {
			b.Engine.ResetTrace()
			full := false
			for _, step := range one.Run(t, b).Steps {
				words := strings.Fields(step.Command)
				switch {
				case words[0] == "MAXMEMORY":
					full = words[1] != "0"
				case len(words) > 1 && words[1] == script.Name:
					failed(step.Reply)
					refused := strings.HasPrefix(step.Reply, "(error) OOM")
					s.refusesFull = s.refusesFull || full && refused
					s.worksFull = s.worksFull || full && !refused
				}
			}
			var declared []string
			collecting := false
			for _, call := range b.Engine.Trace() {
				if call.Script == "" && strings.HasPrefix(strings.ToUpper(call.Args[0]), "EVALSHA") {
					declared, collecting = call.Keys(), false
				}
				if call.Script != script.SHA1 {
					continue
				}
				command, keys := call.Args[0], call.Keys()
				collecting = collecting || command == "ZRANDMEMBER"
				s.commands[command] = s.commands[command] || !collecting
				if len(keys) == 0 {
					t.Errorf("%s.lua, case %s: %s of no key", script.Name, one.Name, command)
				}
				to, writing := s.reads, writes(judge, call.Args)
				if writing {
					to = s.writes
				}
				for _, key := range keys {
					kind := kindOf(key, declared)
					add(to, kind, command)
					if kind == "other keys" || kind == otherRecords && writing {
						t.Errorf("%s.lua, case %s: %s of %s, given %q", script.Name, one.Name, command, key, declared)
					}
				}
			}
		}
		b.Do(t, "FLUSHALL")
		digest := corpus.Load(t, b.Client, script.Name)
		for _, call := range corpus.MalformedCalls()[script.Name] {
			reply, err := b.Client.EvalSha(ctx, digest, call.Keys, call.Args...).Result()
			if err != nil {
				reply = err
			}
			failed(corpus.FormatReply(reply))
		}
	})
	if !s.refusesFull && !s.worksFull {
		t.Errorf("%s.lua: no case calls it when the memory is full", script.Name)
	}
	return s
}

// writes tells whether Redis flags a command as one that writes: then a
// read-only script may not call it.
func writes(judge *luatest.Engine, args []string) bool {
	reply := judge.Do(append([]string{"EVAL_RO", "return redis.call(unpack(ARGV))", "0"}, args...)...)
	failed, ok := reply.(luatest.Error)
	return ok && strings.HasPrefix(string(failed), "ERR Write commands are not allowed")
}

// aclLine is the smallest set of permissions under which a script works.
func aclLine(evalsha, permission string, a auditedScript) string {
	words := []string{"ACL SETUSER app on >SECRET"}
	for _, keys := range []string{"{ns}/keys", "{ns}:*"} {
		words = append(words, permission+keys)
	}
	words = append(words, evalsha)
	for _, command := range a.Commands {
		words = append(words, "+"+strings.ToLower(command))
	}
	return strings.Join(words, " ")
}

// bounds are the defaults of wildkey.Options, as a client's calls show them.
type bounds struct{ Records, Limit, Reads, Bytes int }

func defaultBounds(t *testing.T) (found bounds) {
	t.Helper()
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		b.Engine.ResetTrace()
		_, err := cache.Page(ctx, wildkey.MustParsePattern("**"), wildkey.PageOptions{})
		backend.Must(t, err)
		trace := b.Engine.Trace()
		page := trace[slices.IndexFunc(trace, func(c luatest.Call) bool { return c.Script != "" })-1].Args
		_, err = fmt.Sscan(strings.Join(page[len(page)-4:len(page)-1], " "), &found.Limit, &found.Reads, &found.Bytes)
		backend.Must(t, err)
		var keys []wildkey.Key
		for !errors.Is(err, wildkey.ErrTooMany) {
			keys = append(keys, wildkey.K(len(keys)))
			_, err = cache.Delete(ctx, keys...)
		}
		found.Records = len(keys) - 1
	})
	return found
}

// mostLooked is where the COST line of put.lua names the bound of collecting.
var mostLooked = regexp.MustCompile(`none unless the index grows, and at most (\d+)`)

// worst gives the variables of a COST line their largest values in a call of
// the Go client, and the reply that costs most.
func (b bounds) worst(t *testing.T, script string) (locals, reply, at string) {
	t.Helper()
	switch n := b.Records; script {
	case "put":
		bound := mostLooked.FindStringSubmatch(header.Text(corpus.Script(script), "COST"))
		if bound == nil {
			t.Fatal("the COST of put.lua names no bound of the index entries that it looks at")
		}
		return fmt.Sprintf("local c, p, t, d, e = %d, %d, 0, 0, %s", n, n, bound[1]), "",
			fmt.Sprintf("%d new records, each with a condition, and as much collecting as there can be", n)
	case "match":
		return fmt.Sprintf("local reads, M, S = %d, %d, %d", b.Reads, b.Limit, b.Reads-b.Limit), "records",
			fmt.Sprintf("%d entries read, of which %d match and the others are stale, for `records`", b.Reads, b.Limit)
	case "sweep":
		return fmt.Sprintf("local n, s = %d, %d", b.Reads, b.Reads), "",
			fmt.Sprintf("%d suspects, what one page can find, all of them stale", b.Reads)
	case "delete":
		return fmt.Sprintf("local n = %d", n), "values", fmt.Sprintf("%d records, for `values`", n)
	}
	t.Fatalf("no worst call of %s.lua is known", script)
	return "", "", ""
}

// measured is the longest call of a script in the benchmark's results.
type measured struct {
	Verb            string // as the benchmark names it
	Median, Longest time.Duration
	Rounds          int
}

// verbsOf are the rows of the benchmark's line "calls" that call one script.
var verbsOf = map[string]*regexp.Regexp{
	"delete": regexp.MustCompile(`^Delete,`),
	"match":  regexp.MustCompile(`^(Page|Match|MatchKeys|Count),`),
	"put":    regexp.MustCompile(`^(Put|Touch),`),
	"sweep":  regexp.MustCompile(`sweep of`),
}

// benchCalls is the line "calls" of the benchmark's results.
type benchCalls struct {
	Line, Title string
	Rows        []struct {
		Name    string
		Samples []struct {
			Longest time.Duration `json:"longest_call_ns"`
		}
	}
}

func measuredCalls(t *testing.T) benchCalls {
	t.Helper()
	const path = "bench/results/results.json"
	content, err := os.ReadFile(module.Path(path))
	backend.Must(t, err)
	var results []benchCalls
	backend.Must(t, json.Unmarshal(content, &results))
	i := slices.IndexFunc(results, func(r benchCalls) bool { return r.Line == "calls" })
	if i < 0 {
		t.Fatalf("%s has no line \"calls\"; run: make bench", path)
	}
	return results[i]
}

// longest is that of the slowest verb, by the median over the rounds: a single
// round may have been interrupted by other work of the machine.
func (c benchCalls) longest(t *testing.T, script string) (longest measured) {
	t.Helper()
	for _, row := range c.Rows {
		if !verbsOf[script].MatchString(row.Name) || len(row.Samples) == 0 {
			continue
		}
		var rounds []time.Duration
		for _, sample := range row.Samples {
			rounds = append(rounds, sample.Longest)
		}
		slices.Sort(rounds)
		if median := rounds[len(rounds)/2]; median > longest.Median {
			longest = measured{row.Name, median, rounds[len(rounds)-1], len(rounds)}
		}
	}
	if longest.Verb == "" {
		t.Errorf("the benchmark's line \"calls\" has no row of %s.lua, %v; run: make bench", script, verbsOf[script])
	}
	return longest
}

// TestChangelogNamesDigests: the newest version in the changelog lists the
// scripts as sha1sum does, for operators to pin.
func TestChangelogNamesDigests(t *testing.T) {
	changelog, err := os.ReadFile(module.Path("CHANGELOG.md"))
	backend.Must(t, err)
	sums, err := os.ReadFile(module.Path("scripts/SHA1SUMS"))
	backend.Must(t, err)
	newest := strings.SplitN(string(changelog), "\n## ", 3)[1]
	if !strings.Contains(newest, "\n```\n"+string(sums)+"```\n") {
		t.Errorf("the newest version in CHANGELOG.md does not list the scripts as they are:\n%s", sums)
	}
}

// TestAuditShell runs the page's commands and expects the output that stands
// there.
func TestAuditShell(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		commands, outputs := page.Code(t, auditPage, "sh"), page.Code(t, auditPage, "")
		// The first block without a language is the list of digests.
		if len(commands) == 0 || len(outputs) != len(commands)+1 {
			t.Fatalf("%d blocks of commands, %d of output", len(commands), len(outputs)-1)
		}
		for i, block := range commands {
			if diff := cmp.Diff(outputs[i+1], page.Shell(t, b.Server.Addr, "scripts", block)); diff != "" {
				t.Errorf("%s(-page +got)\n%s", block, diff)
			}
		}
	})
}
