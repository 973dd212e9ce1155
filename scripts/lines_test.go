package scripts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/writer"
)

// lineOnPage returns the permissions in the line that the page gives a user, for
// the namespace app.
func lineOnPage(t *testing.T, name string) []string {
	t.Helper()
	content, err := os.ReadFile(module.Path(auditPage))
	backend.Must(t, err)
	lines := regexp.MustCompile(`(?m)^ *ACL SETUSER `+name+` on >SECRET (.*)$`).FindAllStringSubmatch(string(content), -1)
	lines = slices.DeleteFunc(lines, func(line []string) bool { return strings.Contains(line[1], "{ns}") }) // of one script
	if len(lines) != 1 {
		t.Fatalf("%s has %d lines for the user %s", auditPage, len(lines), name)
	}
	return strings.Fields(lines[0][1])
}

// replaced returns a line with one of its permissions replaced, as the page says.
func replaced(t *testing.T, permissions []string, old string, by ...string) []string {
	t.Helper()
	i := slices.Index(permissions, old)
	if i < 0 {
		t.Fatalf("%s is not in %v", old, permissions)
	}
	return slices.Replace(slices.Clone(permissions), i, i+1, by...)
}

// idleOnPage returns the permissions without which the page says that no verb fails.
func idleOnPage(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(module.Path(auditPage))
	backend.Must(t, err)
	sentence := regexp.MustCompile("Without `(\\+\\w+)` or\\s+`(\\+\\w+)` no verb fails").FindSubmatch(content)
	if sentence == nil {
		t.Fatalf("%s does not say without what no verb fails", auditPage)
	}
	return []string{string(sentence[1]), string(sentence[2])}
}

// deed is a verb and its error.
type deed struct {
	name string
	err  error
}

// failed tells of the deeds that failed.
func failed(deeds []deed) (texts []string) {
	for _, d := range deeds {
		if d.err != nil {
			texts = append(texts, fmt.Sprintf("%s: %v", d.name, d.err))
		}
	}
	return texts
}

var everything = wildkey.MustParsePattern("**")

// reads calls all verbs that only read. The record is there.
func reads(cache *wildkey.Cache, key wildkey.Key) []deed {
	return []deed{
		{"Get", errorOf(cache.Get(ctx, key))},
		{"GetMany", errorOf(cache.GetMany(ctx, key, key))},
		{"TTL", errorOf(cache.TTL(ctx, key))},
		{"Match", errorOfAll(cache.Match(ctx, everything, wildkey.WithTTL()))},
		{"MatchKeys", errorOfAll(cache.MatchKeys(ctx, everything))},
		{"Collect", errorOf(cache.Collect(ctx, everything))},
		{"Page", errorOf(cache.Page(ctx, everything, wildkey.PageOptions{}))},
		{"Count", errorOf(cache.Count(ctx, everything))},
		{"List", errorOfAll(cache.List(ctx, wildkey.MustParsePattern("*")))},
		{"Estimate", errorOf(cache.Estimate(ctx, everything))},
	}
}

// applies calls all that an application may: the verbs of a Cache, and packages
// fetch and writer. No record is there in the end.
func applies(t *testing.T, cache *wildkey.Cache, key wildkey.Key) []deed {
	t.Helper()
	record := backend.Rec(key, "v")
	crowd := func(yield func(wildkey.Record, error) bool) {
		for n := range 40 { // as many as have put.lua collect
			if !yield(backend.Rec(slices.Concat(key, wildkey.K(n)), "v"), nil) {
				return
			}
		}
	}
	deeds := []deed{
		{"Load", cache.Load(ctx)},
		{"Put", cache.Put(ctx, record)},
		{"PutEach", errorOf(cache.PutEach(ctx, crowd, nil))},
		{"GetTouch", errorOf(cache.GetTouch(ctx, time.Minute, key))},
		{"Touch", errorOf(cache.Touch(ctx, time.Minute, key))},
		{"Touch for ever", errorOf(cache.Touch(ctx, wildkey.NoExpiry, key))},
		{"TouchEach", errorOf(cache.TouchEach(ctx, time.Minute, backend.Source(key), nil))},
		{"TouchMatch", errorOf(cache.TouchMatch(ctx, time.Minute, everything))},
		{"Apply", errorOf(cache.Apply(ctx, wildkey.OpCheck(key).If(wildkey.Equal([]byte("v")))))},
	}
	deeds = append(deeds, reads(cache, key)...)
	deeds = append(deeds,
		deed{"Match from the master", errorOfAll(cache.Match(ctx, everything, wildkey.FromMaster()))},
		deed{"Take", errorOf(cache.Take(ctx, key))},
		deed{"Delete", errorOf(cache.Delete(ctx, key))},
		deed{"DeleteEach", errorOf(cache.DeleteEach(ctx, backend.Source(key), nil))},
		deed{"Sweep", errorOf(cache.Sweep(ctx))},
	)

	fetcher, err := fetch.New(cache, fetch.Options{Negative: time.Minute, RefreshAhead: 1})
	backend.Must(t, err)
	loaded := func(context.Context) (fetch.Loaded, error) { return fetch.Loaded{Value: []byte("v")}, nil }
	nothing := func(context.Context) (fetch.Loaded, error) { return fetch.Loaded{}, wildkey.ErrNotFound }
	_, none := fetcher.Get(ctx, slices.Concat(key, wildkey.K("none")), nothing)
	if errors.Is(none, wildkey.ErrNotFound) {
		none = nil
	}
	deeds = append(deeds,
		deed{"Fetcher.Get", errorOf(fetcher.Get(ctx, key, loaded))},
		deed{"Fetcher.Get of nothing", none},
		deed{"Fetcher.Put", fetcher.Put(ctx, record)},
		deed{"Fetcher.Take", errorOf(fetcher.Take(ctx, key))},
		deed{"Fetcher.Delete", errorOf(fetcher.Delete(ctx, key))},
		deed{"Fetcher.DeleteMatch", errorOf(fetcher.DeleteMatch(ctx, everything))},
	)
	if stats := fetcher.Stats(); stats.Failed > 0 {
		deeds = append(deeds, deed{"Fetcher", fmt.Errorf("%+v", stats)})
	}

	queue := writer.New(cache, writer.Options{OnError: func(writer.Failure) {}})
	waiting := queue.Waiting()
	return append(deeds,
		deed{"Writer.Put", waiting.Put(ctx, record)},
		deed{"Writer.TouchMatch", waiting.TouchMatch(ctx, time.Minute, everything)},
		deed{"Writer.Delete", waiting.Delete(ctx, key)},
		deed{"Writer.DeleteMatch", waiting.DeleteMatch(ctx, everything)},
		deed{"Writer.Close", queue.Close(ctx)},
		deed{"DeleteMatch", errorOf(cache.DeleteMatch(ctx, everything))},
	)
}

// refusedCommands are those in the ACL log.
func refusedCommands(t *testing.T, b *backend.Backend) (commands []string) {
	t.Helper()
	entries, err := b.Client.ACLLog(ctx, 100).Result()
	backend.Must(t, err)
	for _, entry := range entries {
		commands = append(commands, "+"+entry.Object)
	}
	return commands
}

// TestAuditLines proves the lines for an application and for a reader: such a user
// may call every verb, and with any permission less some verb fails, or, where the
// page says that none does, the server refuses the command.
func TestAuditLines(t *testing.T) {
	key := wildkey.K("a", "b")
	application := func(t *testing.T, b *backend.Backend, permissions []string, preloaded bool) []string {
		cache := backend.Cache(t, user(t, b, "app", permissions...), wildkey.Options{Namespace: "app", Preloaded: preloaded})
		return failed(applies(t, cache, key))
	}
	line := lineOnPage(t, "app")
	for name, test := range map[string]struct {
		permissions []string
		preloaded   bool
		do          func(t *testing.T, b *backend.Backend, permissions []string) []string
	}{
		"application": {line, false, func(t *testing.T, b *backend.Backend, permissions []string) []string {
			return application(t, b, permissions, false)
		}},
		"application that loads nothing": {
			replaced(t, line, "+script|load", "+script|exists"), true,
			func(t *testing.T, b *backend.Backend, permissions []string) []string {
				return application(t, b, permissions, true)
			},
		},
		"reader": {lineOnPage(t, "reader"), true, func(t *testing.T, b *backend.Backend, permissions []string) []string {
			b.Do(t, "SET", "{app}:a:b", "v")
			b.Do(t, "ZADD", "{app}/keys", 0, "a:b", 0, "stale")
			cache := backend.Cache(t, user(t, b, "reader", permissions...),
				wildkey.Options{Namespace: "app", Preloaded: true, LeaveStale: true})
			deeds := failed(append(reads(cache, key), deed{"Load", cache.Load(ctx)}))
			if b.Do(t, "DEL", "{app}/keys", "{app}:a:b") != int64(2) {
				t.Error("a reader has written")
			}
			return deeds
		}},
	} {
		t.Run(name, func(t *testing.T) {
			backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
				if b.LacksReadOnlyScripts() {
					t.Skip("this server has no EVALSHA_RO")
				}
				run := func(t *testing.T, permissions []string) []string {
					b.Do(t, "FLUSHALL")
					b.Do(t, "SCRIPT", "FLUSH")
					if test.preloaded {
						backend.Must(t, b.Cache(t, wildkey.Options{}).Load(ctx))
					}
					b.Do(t, "ACL", "LOG", "RESET")
					return test.do(t, b, permissions)
				}
				for _, failure := range run(t, test.permissions) {
					t.Error(failure)
				}
				for missing, rest := range oneLess(test.permissions, true) {
					failures := run(t, rest)
					switch idle := slices.Contains(idleOnPage(t), missing) && name != "reader"; {
					case !idle && len(failures) == 0:
						t.Errorf("no verb needs %s", missing)
					case idle && len(failures) > 0:
						t.Errorf("without %s: %v", missing, failures)
					case idle && !slices.Contains(refusedCommands(t, b), missing):
						t.Errorf("nothing calls %s", missing)
					}
				}
				b.Do(t, "FLUSHALL")
			})
		})
	}
}

// TestAuditPasted pastes the lines into redis-cli, and has a server read them from a
// users.acl as the page says. Then it pastes all that the page has for redis-cli.
func TestAuditPasted(t *testing.T) {
	var lines, users []string
	for _, name := range []string{"app", "reader", "viewer", "operator", "loader"} {
		rest := strings.Join(lineOnPage(t, name), " ")
		lines = append(lines, "ACL SETUSER "+name+" on >SECRET "+rest)
		users = append(users, "user "+name+" on >SECRET "+rest)
	}
	redisserver.EachProgram(t, func(t *testing.T, p redisserver.Program) {
		if p.Before(7, 0) {
			t.Skip("this server has no EVALSHA_RO")
		}
		file := t.TempDir() + "/users.acl"
		backend.Must(t, os.WriteFile(file, []byte(strings.Join(users, "\n")+"\n"), 0o666))
		fromFile, err := p.Run("--aclfile", file)
		backend.Must(t, err)
		t.Cleanup(fromFile.Close)
		want := usersOf(t, fromFile)
		pasted, err := p.Run()
		backend.Must(t, err)
		t.Cleanup(pasted.Close)
		output := page.Shell(t, pasted.Addr, "scripts", "redis-cli <<'END'\n"+strings.Join(lines, "\n")+"\nEND\n")
		if output != strings.Repeat("OK\n", len(lines)) {
			t.Errorf("redis-cli: %s", output)
		}
		if diff := cmp.Diff(want, usersOf(t, pasted)); diff != "" {
			t.Errorf("(-users.acl +redis-cli)\n%s", diff)
		}
		content, err := os.ReadFile(module.Path(auditPage))
		backend.Must(t, err)
		all := ""
		for _, block := range regexp.MustCompile("(?ms)^ *```redis\n(.*?)^ *```$").FindAllSubmatch(content, -1) {
			all += string(block[1])
		}
		output = page.Shell(t, fromFile.Addr, "scripts", "redis-cli <<'END'\n"+all+"END\n")
		if n := strings.Count(all, "\n"); n <= len(lines) || output != strings.Repeat("OK\n", n) {
			t.Errorf("redis-cli: %s\nof\n%s", output, all)
		}
	})
}

// usersOf are the users of a server; the words of each are sorted, as Redis has them in any order.
func usersOf(t *testing.T, server *redisserver.Server) (users [][]string) {
	t.Helper()
	lines, err := server.Client(t).ACLList(ctx).Result()
	backend.Must(t, err)
	for _, line := range lines {
		users = append(users, slices.Sorted(slices.Values(strings.Fields(line))))
	}
	return users
}

// TestAuditUpgrade: users made for Redis 6.2 go on to work on a later server, the
// application by EVALSHA alone, until they are given what the page says.
func TestAuditUpgrade(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		key := wildkey.K("a", "b")
		old := replaced(t, lineOnPage(t, "app"), "+evalsha_ro")
		client := user(t, b, "app", old...)
		cache := backend.Cache(t, client, wildkey.Options{Namespace: "app"})
		b.Do(t, "ACL", "LOG", "RESET")
		for _, failure := range failed(applies(t, cache, key)) {
			t.Errorf("an application of 6.2: %s", failure)
		}
		reader := func(permissions []string) []string {
			client := user(t, b, "reader", permissions...)
			backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
			return failed(reads(backend.Cache(t, client,
				wildkey.Options{Namespace: "app", Preloaded: true, LeaveStale: true}), key))
		}
		var older []string
		for _, permission := range replaced(t, lineOnPage(t, "reader"), "+evalsha_ro", "+evalsha") {
			older = append(older, strings.TrimPrefix(permission, "%R"))
		}
		if failures := reader(older); len(failures) > 0 {
			t.Errorf("a reader of 6.2: %v", failures)
		}
		digest := corpus.Script("match").SHA1
		match := func() error {
			return client.EvalShaRO(ctx, digest, []string{"{app}/keys"}, "count", "", 1, 1, 1, "**").Err()
		}
		if b.LacksReadOnlyScripts() {
			if err := b.Client.Do(ctx, "ACL", "SETUSER", "app", "+evalsha_ro").Err(); err == nil {
				t.Error("this server takes +evalsha_ro")
			}
			return
		}
		refusals := 0
		entries, err := b.Client.ACLLog(ctx, 100).Result()
		backend.Must(t, err)
		for _, entry := range entries {
			if entry.Object == "evalsha_ro" && entry.Username == "app" {
				refusals += int(entry.Count)
			}
		}
		if refusals != 1 {
			t.Errorf("EVALSHA_RO of one Cache was refused %d times", refusals)
		}
		if err := match(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("EVALSHA_RO of a user of 6.2: %v", err)
		}
		b.Do(t, "ACL", "SETUSER", "app", "+evalsha_ro")
		if err := match(); err != nil {
			t.Errorf("EVALSHA_RO with +evalsha_ro: %v", err)
		}
		called := func(cache *wildkey.Cache) string {
			b.Do(t, "CONFIG", "RESETSTAT")
			backend.Must(t, errorOf(cache.Count(ctx, everything)))
			stats := b.Do(t, "INFO", "commandstats").(string)
			return strings.Join(regexp.MustCompile(`cmdstat_evalsha\w*`).FindAllString(stats, -1), " ")
		}
		if got := called(cache); got != "cmdstat_evalsha" {
			t.Errorf("the Cache from before: %s", got)
		}
		if got := called(backend.Cache(t, client, wildkey.Options{Namespace: "app"})); got != "cmdstat_evalsha_ro" {
			t.Errorf("a new Cache: %s", got)
		}
		narrow := []any{"ACL", "SETUSER", "reader", "resetkeys", "-evalsha"}
		for _, permission := range lineOnPage(t, "reader") {
			narrow = append(narrow, permission)
		}
		reading := redis.NewClient(&redis.Options{Addr: b.Server.Addr, Username: "reader", Password: "SECRET"})
		t.Cleanup(func() { reading.Close() })
		b.Do(t, narrow...)
		for _, failure := range failed(reads(backend.Cache(t, reading,
			wildkey.Options{Namespace: "app", Preloaded: true, LeaveStale: true}), key)) {
			t.Errorf("a reader after the upgrade: %s", failure)
		}
		if err := reading.EvalSha(ctx, digest, nil).Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("EVALSHA of a reader after the upgrade: %v", err)
		}
	})
}
