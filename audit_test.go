package wildkey_test

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
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

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
	parsed, err := template.New(filepath.Base(auditTemplate)).Funcs(functions).ParseFiles(auditTemplate)
	must(t, err)
	var text bytes.Buffer
	must(t, parsed.Execute(&text, page))
	if t.Failed() {
		return // what contradicts itself is not written down
	}
	if *update {
		must(t, os.WriteFile(auditPage, text.Bytes(), 0o666))
	}
	content, err := os.ReadFile(auditPage)
	must(t, err)
	if diff := cmp.Diff(text.String(), string(content)); diff != "" {
		t.Errorf("run: go test -run TestAudit -update . (-want +%s)\n%s", auditPage, diff)
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
	header := headerOf(script)
	a := auditedScript{
		Script:   script,
		Purpose:  header["PURPOSE"],
		Keys:     header["KEYS"],
		Returns:  header["RETURNS"],
		Cost:     header["COST"],
		Commands: sourceCommands(t, script),
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

	_, listed, _ := strings.Cut(header["ERRORS"], "from the server: ")
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
		// No single server with all permissions gives cause for these: see runScripts.
		elsewhere := strings.HasPrefix(format, "NOPERM ") || strings.HasPrefix(format, "TRYAGAIN ")
		if !elsewhere && !slices.ContainsFunc(seen.errors, refusalPattern(format).MatchString) {
			t.Errorf("%s.lua: no case provokes %q", script.Name, format)
		}
	}

	onEngine(t, func(t *testing.T, b *backend) {
		locals, at := bounds.worst(script.Name)
		a.CallsAt, a.Calls = at, callBudget(t, b, script.Name, locals, script.Name == "delete")
	})
	return a
}

// headerOf returns the fields of a header; a field's further lines are joined
// to it.
func headerOf(script wildkey.Script) map[string]string {
	fields := map[string]string{}
	name := ""
	for _, line := range strings.Split(script.Source, "\n") {
		field := headerLine.FindStringSubmatch(line)
		switch {
		case field != nil:
			name = field[1]
			fields[name] = field[2]
		case name != "" && strings.HasPrefix(line, "--  "):
			fields[name] += " " + strings.TrimLeft(line, "- ")
		default:
			name = ""
		}
	}
	return fields
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
	onEngine(t, func(t *testing.T, b *backend) {
		_, cases := readCorpus(t, filepath.Join("scripts", "testdata", script.Name+".txt"))
		for _, one := range cases {
			b.engine.ResetTrace()
			full := false
			for _, step := range runCase(t, b, one).steps {
				words := strings.Fields(step.command)
				switch {
				case words[0] == "MAXMEMORY":
					full = words[1] != "0"
				case len(words) > 1 && words[1] == script.Name:
					failed(step.reply)
					if full && s.fullServer != "refuses" {
						s.fullServer = "works"
					}
					if full && strings.HasPrefix(step.reply, "(error) OOM") {
						s.fullServer = "refuses"
					}
				}
			}
			var declared []string
			for _, call := range b.engine.Trace() {
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
						t.Errorf("%s.lua, case %s: %s of %s, given %q", script.Name, one.name, command, key, declared)
					}
				}
			}
		}
		b.do(t, "FLUSHALL")
		digest := load(t, b.client, script.Name)
		for _, call := range malformedCalls()[script.Name] {
			reply, err := b.client.EvalSha(ctx, digest, call.keys, call.args...).Result()
			if err != nil {
				reply = err
			}
			failed(formatReply(reply))
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
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		b.engine.ResetTrace()
		_, err := cache.Page(ctx, wildkey.MustParsePattern("**"), "", 0)
		must(t, err)
		trace := b.engine.Trace()
		page := trace[slices.IndexFunc(trace, func(c luatest.Call) bool { return c.Script != "" })-1].Args
		_, err = fmt.Sscan(strings.Join(page[len(page)-4:len(page)-1], " "), &found.Limit, &found.Reads, &found.Bytes)
		must(t, err)
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
	content, err := os.ReadFile(path)
	must(t, err)
	var results []benchCalls
	must(t, json.Unmarshal(content, &results))
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
	changelog, err := os.ReadFile("CHANGELOG.md")
	must(t, err)
	sums, err := os.ReadFile("scripts/SHA1SUMS")
	must(t, err)
	newest := strings.SplitN(string(changelog), "\n## ", 3)[1]
	if !strings.Contains(newest, "\n```\n"+string(sums)+"```\n") {
		t.Errorf("the newest version in CHANGELOG.md does not list the scripts as they are:\n%s", sums)
	}
}

// permissionsOnPage returns, for each ACL line that the page gives a script,
// the permissions there, for the namespace t.
func permissionsOnPage(t *testing.T, script string) (lines [][]string) {
	t.Helper()
	content, err := os.ReadFile(auditPage)
	must(t, err)
	_, section, _ := strings.Cut(string(content), "\n### "+script+".lua\n")
	section, _, _ = strings.Cut(section, "\n#")
	for _, line := range regexp.MustCompile(`(?m)^ACL SETUSER app on >SECRET (.*)$`).FindAllStringSubmatch(section, -1) {
		lines = append(lines, strings.Fields(strings.ReplaceAll(line[1], "{ns}", "{t}")))
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no ACL line for %s.lua", auditPage, script)
	}
	return lines
}

// user makes an ACL user anew and returns a client of it.
func (b *backend) user(t *testing.T, name string, permissions ...string) *redis.Client {
	t.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">SECRET"}
	for _, permission := range permissions {
		args = append(args, permission)
	}
	b.do(t, args...)
	client := redis.NewClient(&redis.Options{Addr: b.server.Addr, Username: name, Password: "SECRET"})
	t.Cleanup(func() { client.Close() })
	return client
}

// denied is how a missing permission shows: before the script starts, or inside
// it with Redis 6.2 and 7.0, 7.2 and later, or by the script's own word.
var denied = regexp.MustCompile(
	`^\(error\) (NOPERM |(ERR )?The user executing the script can't|ERR ACL failure in script: )`)

// scriptCaller has the calls of one script made by another client.
type scriptCaller struct {
	digest string
	call   func(cmd *redis.Cmd) error
}

func (c scriptCaller) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c scriptCaller) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if args := cmd.Args(); strings.HasPrefix(cmd.Name(), "evalsha") && args[1] == c.digest {
			return c.call(cmd.(*redis.Cmd))
		}
		return next(ctx, cmd)
	}
}

func (c scriptCaller) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestAuditACL proves each ACL line of the page: as that user the script does
// all that its corpus says. With any one permission less some call is refused,
// and no refused call writes, but for those that the page names; none breaks
// the invariant.
func TestAuditACL(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		_, cases := readCorpus(t, filepath.Join("scripts", "testdata", script.Name+".txt"))
		for i, permissions := range permissionsOnPage(t, script.Name) {
			t.Run(script.Name+" "+strings.Join(permissions, " "), func(t *testing.T) {
				onServers(t, func(t *testing.T, b *backend) {
					old := lacksReadOnlyScripts(b)
					if old && strings.HasPrefix(permissions[0], "%") {
						t.Skip("this server has no %R~")
					}
					t.Run("whole", func(t *testing.T) {
						for _, want := range cases {
							got := runCase(t, b.calledBy(t, script, permissions, nil), want)
							for i, step := range want.steps {
								// The script itself refuses records of two tags; the ACL does so before it.
								if strings.Contains(step.command, " {u}:") && denied.MatchString(got.steps[i].reply) {
									got.steps[i].reply = step.reply
								}
							}
							if diff := cmp.Diff(formatCase(want), formatCase(got)); diff != "" {
								t.Errorf("(-want +got)\n%s", diff)
							}
						}
					})
					if old {
						t.Skip("this server has no redis.acl_check_cmd: a call may be refused half way")
					}
					for missing, rest := range oneLess(permissions, i == 0) {
						t.Run("without "+missing, func(t *testing.T) { b.checkRefusals(t, script, cases, rest) })
					}
				})
			})
		}
	}
}

// oneLess returns what is left of permissions without each of them, by the one
// that is missing. With narrower, keys that may be read and written may also be
// only read, or only written.
func oneLess(permissions []string, narrower bool) map[string][]string {
	less := map[string][]string{}
	for i, permission := range permissions {
		rest := slices.Delete(slices.Clone(permissions), i, i+1)
		less[permission] = rest
		if narrower && strings.HasPrefix(permission, "~") {
			less["%W"+permission] = append(slices.Clone(rest), "%R"+permission)
			less["%R"+permission] = append(slices.Clone(rest), "%W"+permission)
		}
	}
	return less
}

// calledBy returns this server as runCase wants it, with the calls of the
// script made by a user with these permissions. around, unless nil, is called
// before each call that is not about two tags, and what it returns with the reply.
func (b *backend) calledBy(
	t *testing.T, script wildkey.Script, permissions []string, around func() func(reply string),
) *backend {
	t.Helper()
	user := b.user(t, "app", permissions...)
	verb := "evalsha"
	if slices.Contains(permissions, "+evalsha_ro") || slices.Contains(permissions, "%R~{t}/keys") {
		verb = "evalsha_ro"
	}
	mixed := &backend{client: b.server.Client(t), server: b.server}
	mixed.client.AddHook(scriptCaller{script.SHA1, func(cmd *redis.Cmd) error {
		after := func(string) {}
		// Records of two tags are refused with or without the permission that is missing.
		twoTags := slices.ContainsFunc(cmd.Args(), func(arg any) bool { return strings.HasPrefix(fmt.Sprint(arg), "{u}") })
		if around != nil && !twoTags {
			after = around()
		}
		reply, err := user.Do(ctx, append([]any{verb}, cmd.Args()[1:]...)...).Result()
		cmd.SetVal(reply)
		cmd.SetErr(err)
		if err != nil && err != redis.Nil {
			reply = err
		}
		after(formatReply(reply))
		return err
	}})
	return mixed
}

// snapshot is all that a server since Redis 7.0 holds, to the millisecond.
func (b *backend) snapshot(t *testing.T) string {
	t.Helper()
	const all = `local names, all = redis.call('KEYS', '*'), {}
		table.sort(names)
		for _, name in ipairs(names) do
			all[#all + 1] = { name, redis.call('DUMP', name), redis.call('PEXPIRETIME', name) }
		end
		return all`
	return fmt.Sprintf("%q", b.do(t, "EVAL", all, 0))
}

// checkRefusals runs a corpus with one permission missing.
func (b *backend) checkRefusals(
	t *testing.T, script wildkey.Script, cases []corpusCase, rest []string,
) {
	t.Helper()
	refused := 0
	mixed := b.calledBy(t, script, rest, func() func(string) {
		before, breaches := b.snapshot(t), invariantBreaches(t, b.client)
		return func(reply string) {
			for _, breach := range invariantBreaches(t, b.client) {
				if !slices.Contains(breaches, breach) {
					t.Errorf("%s, after a call that replied %s", breach, reply)
				}
			}
			after := b.snapshot(t)
			if !denied.MatchString(reply) {
				return
			}
			refused++
			if after != before {
				t.Errorf("refused with %q, and it had written\nbefore %s\nafter  %s", reply, before, after)
			}
		}
	})
	for _, one := range cases {
		runCase(t, mixed, one)
	}
	if refused == 0 {
		t.Errorf("no call is refused: it is not needed")
	}
}

// TestAuditReplica: of the scripts, those whose header names READONLY write,
// and a replica has them refused with nothing written.
func TestAuditReplica(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{Namespace: "t"})
		must(t, cache.Load(ctx))
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
		b.do(t, "ZADD", "{t}/expiry", 1, "expired") // for sweep
		before := dump(t, b.client, 0)
		b.do(t, "REPLICAOF", "127.0.0.1", "1")
		for _, script := range wildkey.Scripts() {
			call := malformedCalls()[script.Name][0]
			err := b.client.EvalSha(ctx, script.SHA1, call.keys, call.args...).Err()
			want := strings.Contains(headerOf(script)["ERRORS"], "READONLY")
			if got := err != nil && strings.Contains(err.Error(), "READONLY "); got != want || !want && err != nil {
				t.Errorf("%s.lua on a replica: %v; READONLY in its ERRORS: %t", script.Name, err, want)
			}
		}
		if diff := cmp.Diff(before, dump(t, b.client, 0)); diff != "" {
			t.Errorf("a replica was written to (-before +after)\n%s", diff)
		}
		b.do(t, "REPLICAOF", "NO", "ONE")
	})
}

// TestAuditReplication: replicas and the append-only file are given what a
// script did, with absolute times, and never the script.
func TestAuditReplication(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("a"), "v")))
		_, err := cache.Touch(ctx, time.Minute, wildkey.K("a"))
		must(t, err)
		var text string
		dir := b.client.ConfigGet(ctx, "dir").Val()["dir"]
		must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".aof") {
				content, err := os.ReadFile(path)
				text += strings.ToUpper(string(content))
				return err
			}
			return err
		}))
		for command, want := range map[string]bool{
			"MULTI": true, "EXEC": true, "ZADD": true, "PXAT": true, "PEXPIREAT": true,
			"EVALSHA": false, "EVAL": false, "PEXPIRE": false, // Redis 6.2 writes SCRIPT LOAD there, and no call
		} {
			if got := strings.Contains(text, "\n"+command+"\r\n"); got != want {
				t.Errorf("%s in the append-only file: %t, want %t\n%s", command, got, want, text)
			}
		}
	}, "--appendonly", "yes", "--appendfsync", "always", "--save", "")
}

// TestAuditEvalsha holds what the page says of a user who may call scripts and
// load none.
func TestAuditEvalsha(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		must(t, b.cache(t, wildkey.Options{}).Load(ctx))
		put := malformedCalls()["put"][0]
		var putDigest string
		for _, script := range wildkey.Scripts() {
			if script.Name == "put" {
				putDigest = script.SHA1
			}
		}
		foreign := func(source string) string {
			digest, err := b.client.ScriptLoad(ctx, source).Result()
			must(t, err)
			return digest
		}
		alone := b.user(t, "alone", "~{t}/keys", "~{t}/expiry", "~{t}:*", "+evalsha")
		app := b.user(t, "app", permissionsOnPage(t, "put")[0]...)
		for _, row := range []struct {
			name   string
			client *redis.Client
			args   []any
			may    bool
		}{
			{"EVALSHA alone runs a script that calls no command", alone, []any{"EVALSHA", foreign("return 7"), 0}, true},
			{"EVALSHA alone does not run put.lua", alone, evalsha(putDigest, put), false},
			{"EVALSHA alone calls no command inside", alone,
				[]any{"EVALSHA", foreign("return redis.call('GET', KEYS[1])"), 1, "{t}:a"}, false},
			{"put.lua", app, evalsha(putDigest, put), true},
			{"put.lua in another namespace", app,
				evalsha(putDigest, scriptCall{[]string{"{u}/keys", "{u}/expiry", "{u}:a"}, put.args}), false},
			{"anyone's loaded script, within the commands and keys of the user", app,
				[]any{"EVALSHA", foreign("return redis.call('SET', KEYS[1], 'x')"), 1, "{t}:elsewhere"}, true},
			{"another command inside", app, []any{"EVALSHA", foreign("return redis.call('DEL', KEYS[1])"), 1, "{t}:a"}, false},
			{"another key inside, undeclared", app, []any{"EVALSHA", foreign("return redis.call('GET', '{u}:a')"), 0}, false},
			{"a command of put.lua, sent directly", app, []any{"ZREM", "{t}/keys", "elsewhere"}, true},
			{"EVAL", app, []any{"EVAL", "return 1", 0}, false},
			{"EVAL_RO", app, []any{"EVAL_RO", "return 1", 0}, false},
			{"SCRIPT LOAD", app, []any{"SCRIPT", "LOAD", "return 1"}, false},
			{"SCRIPT FLUSH", app, []any{"SCRIPT", "FLUSH"}, false},
			{"SCRIPT EXISTS", app, []any{"SCRIPT", "EXISTS", putDigest}, false},
			{"FUNCTION LOAD", app, []any{"FUNCTION", "LOAD", "#!lua name=x\n"}, false},
			{"FCALL", app, []any{"FCALL", "x", 0}, false},
			{"KEYS", app, []any{"KEYS", "*"}, false},
			{"CONFIG GET", app, []any{"CONFIG", "GET", "*"}, false},
		} {
			err := row.client.Do(ctx, row.args...).Err()
			refused := err != nil && (denied.MatchString(formatReply(err)) || redis.HasErrorPrefix(err, "unknown command"))
			if row.may && err != nil || !row.may && !refused {
				t.Errorf("%s: %v; allowed: %t", row.name, err, row.may)
			}
		}
		b.do(t, "UNLINK", "{t}:elsewhere") // a record that no index knows, as such a user can leave
	})
}

func evalsha(digest string, call scriptCall) []any {
	args := []any{"EVALSHA", digest, len(call.keys)}
	for _, key := range call.keys {
		args = append(args, key)
	}
	return append(args, call.args...)
}

// TestAuditLockedMode: only an operator loads, and an application with all the
// ACL lines of the page does all that a Cache can.
func TestAuditLockedMode(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		if lacksReadOnlyScripts(b) {
			t.Skip("this server has no EVALSHA_RO")
		}
		content, err := os.ReadFile(auditPage)
		must(t, err)
		line := regexp.MustCompile(`(?m)^ *ACL SETUSER operator on >SECRET (.*)$`).FindStringSubmatch(string(content))
		operator := b.user(t, "operator", strings.Fields(line[1])...)
		var all []string
		for _, script := range wildkey.Scripts() {
			all = append(all, permissionsOnPage(t, script.Name)[0]...)
		}
		app := b.user(t, "app", all...)
		reader := b.user(t, "reader", append(permissionsOnPage(t, "match")[0], "+get")...)
		cache, err := wildkey.New(app, wildkey.Options{Namespace: "t", TTL: time.Hour, Preloaded: true})
		must(t, err)
		record := rec(wildkey.K("a", "b"), "v")
		if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrScriptMissing) {
			t.Errorf("Put before the scripts are loaded: %v", err)
		}
		for _, script := range wildkey.Scripts() {
			must(t, operator.ScriptLoad(ctx, script.Source).Err())
			if loaded := operator.ScriptExists(ctx, script.SHA1).Val(); !slices.Equal(loaded, []bool{true}) {
				t.Errorf("the operator does not see %s.lua: %v", script.Name, loaded)
			}
		}
		if err := operator.Get(ctx, "{t}:a:b").Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("the operator reads records: %v", err)
		}
		mayAll(t, cache, record)
		everything := wildkey.MustParsePattern("**")
		reading, err := wildkey.New(reader, wildkey.Options{Namespace: "t", TTL: time.Hour, Preloaded: true, ReadOnly: true})
		must(t, err)
		for name, err := range map[string]error{
			"Get":     errorOf(reading.Get(ctx, record.Key)),
			"GetMany": errorOf(reading.GetMany(ctx, record.Key)),
			"All":     errorOf(reading.All(ctx, everything)),
			"Count":   errorOf(reading.Count(ctx, everything)),
		} {
			if err != nil {
				t.Errorf("%s of a reader: %v", name, err)
			}
		}
		if err := reading.Put(ctx, record); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Put of a reader: %v", err)
		}
		if _, err := cache.Reindex(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Reindex without +scan: %v", err)
		}
		b.do(t, "ACL", "SETUSER", "app", "+scan")
		if _, err := cache.Reindex(ctx); err != nil {
			t.Errorf("Reindex with +scan: %v", err)
		}
		if err := cache.Load(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Load without +script|exists: %v", err)
		}
		b.do(t, "ACL", "SETUSER", "app", "+script|exists")
		if err := cache.Load(ctx); err != nil {
			t.Errorf("Load with +script|exists: %v", err)
		}
	})
}

// mayAll expects that the client of a cache may do all that it does, but for
// what needs SCAN. The record is there in the end.
func mayAll(t *testing.T, cache *wildkey.Cache, record wildkey.Record) {
	t.Helper()
	everything := wildkey.MustParsePattern("**")
	for name, err := range map[string]error{
		"Put":         cache.Put(ctx, record),
		"Get":         errorOf(cache.Get(ctx, record.Key)),
		"GetMany":     errorOf(cache.GetMany(ctx, record.Key, record.Key)),
		"Touch":       errorOf(cache.Touch(ctx, time.Minute, record.Key)),
		"All":         errorOf(cache.All(ctx, everything)),
		"Count":       errorOf(cache.Count(ctx, everything)),
		"TouchMatch":  errorOf(cache.TouchMatch(ctx, wildkey.NoExpiry, everything)),
		"Take":        errorOf(cache.Take(ctx, record.Key)),
		"DeleteMatch": errorOf(cache.DeleteMatch(ctx, everything)),
		"Sweep":       errorOf(cache.Sweep(ctx)),
		"Put again":   cache.Put(ctx, record),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func errorOf(_ any, err error) error { return err }

// TestAuditCluster: with the lines of the page for all shards of a namespace,
// on every node, an application does all that a Cache can, and nothing in
// another namespace.
func TestAuditCluster(t *testing.T) {
	const namespace, encoded = "my app*", "my%20app%2A"
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		if c.Nodes[0].Program.Before(7, 0) {
			t.Skip("this server has no EVALSHA_RO")
		}
		user := func(name string, permissions ...string) *redis.ClusterClient {
			for _, node := range c.Nodes {
				(&backend{client: node.Client(t), server: node}).user(t, name, permissions...)
			}
			return c.Client(t, func(o *redis.ClusterOptions) { o.Username, o.Password = name, "SECRET" })
		}
		var permissions []string
		for _, script := range wildkey.Scripts() {
			for _, permission := range permissionsOnPage(t, script.Name)[0] {
				permissions = append(permissions, strings.ReplaceAll(permission, "{t}", "{"+encoded+"#*}"))
			}
		}
		app := user("app", append(permissions, "+cluster|slots")...)
		lost := user("lost", permissions...)
		open := func(client wildkey.Client, namespace string, shards int) *wildkey.Cache {
			cache, err := wildkey.New(client, wildkey.Options{
				Namespace: namespace, TTL: time.Hour, Preloaded: true, Shards: shards,
			})
			must(t, err)
			return cache
		}
		cache := open(app, namespace, 8)
		operator, err := wildkey.New(c.Client(t, nil), wildkey.Options{})
		must(t, err)
		must(t, operator.Load(ctx))
		for i := range 8 {
			mayAll(t, cache, rec(wildkey.K(i), "v"))
		}
		for name, other := range map[string]*wildkey.Cache{
			"of which its own is the head": open(app, namespace+"more", 8),
			"without shards":               open(app, namespace, 1),
			"of any name":                  open(app, "other", 8),
			"without CLUSTER SLOTS":        open(lost, namespace, 8),
		} {
			if err := other.Put(ctx, rec(wildkey.K("a"), "v")); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("Put in a namespace %s: %v", name, err)
			}
		}
	})
}

// TestAuditNewVersion: two versions of a script serve side by side, and a flush
// takes both.
func TestAuditNewVersion(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		for _, script := range wildkey.Scripts() {
			call := malformedCalls()[script.Name][0]
			older, err := b.client.ScriptLoad(ctx, script.Source+"-- an older version\n").Result()
			must(t, err)
			for _, digest := range []string{older, load(t, b.client, script.Name), older} {
				if err := b.client.EvalSha(ctx, digest, call.keys, call.args...).Err(); err != nil {
					t.Errorf("%s.lua %s: %v", script.Name, digest, err)
				}
			}
			before := dump(t, b.client, 0)
			must(t, b.client.ScriptFlush(ctx).Err())
			for _, digest := range []string{older, script.SHA1} {
				if err := b.client.EvalSha(ctx, digest, call.keys, call.args...).Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
					t.Errorf("%s.lua %s after SCRIPT FLUSH: %v", script.Name, digest, err)
				}
			}
			if diff := cmp.Diff(before, dump(t, b.client, 0)); diff != "" {
				t.Errorf("a missing script has written (-before +after)\n%s", diff)
			}
		}
	})
}

// TestAuditShell runs the page's commands and expects the output that stands
// there.
func TestAuditShell(t *testing.T) {
	onServers(t, func(t *testing.T, b *backend) {
		commands, outputs := codeBlocks(t, auditPage, "sh"), codeBlocks(t, auditPage, "")
		// The first block without a language is the list of digests.
		if len(commands) == 0 || len(outputs) != len(commands)+1 {
			t.Fatalf("%d blocks of commands, %d of output", len(commands), len(outputs)-1)
		}
		for i, block := range commands {
			if diff := cmp.Diff(outputs[i+1], b.shell(t, "scripts", block)); diff != "" {
				t.Errorf("%s(-page +got)\n%s", block, diff)
			}
		}
	})
}
