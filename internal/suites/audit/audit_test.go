// Package audit holds scripts/AUDIT.md, which operators read before they run
// the scripts, against the scripts, their corpus and real servers.
package audit

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
		if !slices.Contains([]string{"math", "redis", "string", "table"}, library[1]) {
			t.Errorf("%s.lua uses the library %s", script.Name, library[1])
		}
	}

	seen := traceCorpus(t, script)
	if diff := cmp.Diff(a.Commands, slices.Sorted(maps.Keys(seen.commands))); diff != "" {
		t.Errorf("%s.lua: the commands of the source against those of the traces (-source +traces)\n%s", script.Name, diff)
	}
	a.Access, a.FullServer = seen.access(), seen.fullServer
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
		locals, at := bounds.worst(script.Name)
		a.CallsAt, a.Calls = at, header.CallBudget(t, b, script.Name, locals, script.Name == "delete")
	})
	return a
}

// refusals are the formats of the errors that a script itself replies.
func refusals(script wildkey.Script) []string {
	var formats []string
	replies := regexp.MustCompile(`(refuse|error_reply)\('([^']*)'(\)?)`)
	for _, call := range replies.FindAllStringSubmatch(script.Source, -1) {
		switch {
		case call[1] == "refuse":
			formats = append(formats, "BADARG "+script.Name+": "+call[2])
		case call[3] != "":
			formats = append(formats, call[2])
		}
	}
	return formats
}

// Refusals are shown with KEYS[i] for any i, N for any number.
func (s auditedScript) ShownRefusals() []string {
	var shown []string
	for _, format := range s.Refusals {
		format = strings.NewReplacer("[%d]", "[i]", "%d", "N", "%s", "{ns}").Replace(format)
		shown = append(shown, format)
	}
	return slices.Compact(shown)
}

func refusalPattern(format string) *regexp.Regexp {
	pattern := strings.NewReplacer("%d", "-?[0-9]+", "%s", ".*").Replace(regexp.QuoteMeta(format))
	return regexp.MustCompile("^" + pattern + "$")
}

// What a key of a namespace holds.
const (
	orderIndex  = "order index `{ns}/keys`"
	expiryIndex = "expiry index `{ns}/expiry`"
	records     = "records `{ns}:…`"
	noKey       = "no key"
)

func kindOf(key string) string {
	switch tag, rest, _ := strings.Cut(key, "}"); {
	case rest == "/keys":
		return orderIndex
	case rest == "/expiry":
		return expiryIndex
	case strings.HasPrefix(rest, ":") && strings.HasPrefix(tag, "{"):
		return records
	}
	return "other keys"
}

// seen is what a script was seen to do.
type seen struct {
	commands   map[string]bool
	reads      map[string]map[string]bool // commands by what the key holds
	writes     map[string]map[string]bool
	errors     []string
	fullServer string
}

func (s seen) access() []access {
	var all []access
	for _, kind := range []string{orderIndex, expiryIndex, records, noKey} {
		all = append(all, access{kind, slices.Sorted(maps.Keys(s.reads[kind])), slices.Sorted(maps.Keys(s.writes[kind]))})
	}
	return all
}

// traceCorpus runs the corpus and the malformed calls of a script, and holds
// what it calls against what it was given: it writes keys that were declared
// and reads keys of the same tag.
func traceCorpus(t *testing.T, script wildkey.Script) seen {
	t.Helper()
	s := seen{
		commands: map[string]bool{},
		reads:    map[string]map[string]bool{},
		writes:   map[string]map[string]bool{},
	}
	add := func(to map[string]map[string]bool, key, command string) {
		kind := kindOf(key)
		if kind == "other keys" {
			t.Errorf("%s.lua: %s of %s, which is no key of a namespace", script.Name, command, key)
		}
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
					if full && s.fullServer != "refuses" {
						s.fullServer = "works"
					}
					if full && strings.HasPrefix(step.Reply, "(error) OOM") {
						s.fullServer = "refuses"
					}
				}
			}
			var declared []string
			for _, call := range b.Engine.Trace() {
				if call.Script == "" && strings.HasPrefix(strings.ToUpper(call.Args[0]), "EVALSHA") {
					declared = call.Keys()
				}
				if call.Script != script.SHA1 {
					continue
				}
				command := call.Args[0]
				s.commands[command] = true
				writes := writes(judge, call.Args)
				if len(call.Keys()) == 0 {
					s.reads[noKey] = map[string]bool{command: true}
				}
				for _, key := range call.Keys() {
					if writes {
						add(s.writes, key, command)
					} else {
						add(s.reads, key, command)
					}
					tag, _, _ := strings.Cut(declared[0], "}")
					if writes && !slices.Contains(declared, key) || !strings.HasPrefix(key, tag+"}") {
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
	if s.fullServer == "" {
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
	for _, keys := range []string{"{ns}/keys", "{ns}/expiry", "{ns}:*"} {
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
		_, err := cache.Page(ctx, wildkey.MustParsePattern("**"), "", 0)
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

// worst gives the variables of a COST line their largest values in a call of
// the Go client.
func (b bounds) worst(script string) (locals, at string) {
	n := b.Records
	switch script {
	case "put":
		return fmt.Sprintf("local n, c, t, p = %d, %d, %d, %d", n, n, n-1, 64+2*n),
			fmt.Sprintf("%d records, each with a condition, one without a ttl, %d entries to purge", n, 64+2*n)
	case "match":
		return fmt.Sprintf("local reads, M, S = %d, %d, %d", b.Reads, b.Reads, b.Reads),
			fmt.Sprintf("%d entries read, all of them matches, no record left", b.Reads)
	case "sweep":
		return fmt.Sprintf("local n, p, d = %d, 0, %d", b.Reads, b.Reads),
			fmt.Sprintf("%d suspects, what one page can find, all of them gone", b.Reads)
	case "touch":
		return fmt.Sprintf("local n, M, k = %d, %d, %d", n, n, n),
			fmt.Sprintf("%d records, all of them live and to keep their ttl", n)
	}
	return fmt.Sprintf("local n, M = %d, %d", n, n), fmt.Sprintf("%d records, all of them live", n)
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
	"put":    regexp.MustCompile(`^Put,`),
	"sweep":  regexp.MustCompile(`^sweep of`),
	"touch":  regexp.MustCompile(`^Touch,`),
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
