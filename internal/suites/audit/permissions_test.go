package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// section is what the page says of one script.
func section(t *testing.T, script string) string {
	t.Helper()
	content, err := os.ReadFile(module.Path(auditPage))
	backend.Must(t, err)
	_, section, _ := strings.Cut(string(content), "\n### "+script+".lua\n")
	section, _, _ = strings.Cut(section, "\n#")
	return section
}

// permissionsOnPage returns, for each ACL line that the page gives a script,
// the permissions there, for the namespace t.
func permissionsOnPage(t *testing.T, script string) (lines [][]string) {
	t.Helper()
	for _, line := range regexp.MustCompile(`(?m)^ACL SETUSER app on >SECRET (.*)$`).FindAllStringSubmatch(section(t, script), -1) {
		lines = append(lines, strings.Fields(strings.ReplaceAll(line[1], "{ns}", "{t}")))
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no ACL line for %s.lua", auditPage, script)
	}
	return lines
}

// collectingOnPage returns the permissions that the page says are for collecting
// alone.
func collectingOnPage(t *testing.T, script string) (permissions []string) {
	t.Helper()
	line := regexp.MustCompile("(?m)^(.*) are for collecting alone").FindStringSubmatch(section(t, script))
	if line == nil {
		return nil
	}
	for _, command := range strings.Fields(line[1]) {
		permissions = append(permissions, "+"+strings.ToLower(strings.Trim(command, "`")))
	}
	return permissions
}

// user makes an ACL user anew and returns a client of it.
func user(t *testing.T, b *backend.Backend, name string, permissions ...string) *redis.Client {
	t.Helper()
	args := []any{"ACL", "SETUSER", name, "reset", "on", ">SECRET"}
	for _, permission := range permissions {
		args = append(args, permission)
	}
	b.Do(t, args...)
	client := redis.NewClient(&redis.Options{Addr: b.Server.Addr, Username: name, Password: "SECRET"})
	t.Cleanup(func() { client.Close() })
	return client
}

// denied is how a missing permission shows: before the script starts, or inside
// it with Redis 6.2 and 7.0, 7.2 and later, or by the script's own word.
var denied = regexp.MustCompile(
	`^\(error\) (NOPERM |(ERR )?The user executing the script can't|ERR ACL failure in script: )`)

// scriptCaller has the calls of one script made by another client, but for those of
// the tag {u}, which is none of the user's.
type scriptCaller struct {
	digest string
	call   func(cmd *redis.Cmd) error
}

func (c scriptCaller) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c scriptCaller) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		otherTag := slices.ContainsFunc(args, func(arg any) bool { return strings.HasPrefix(fmt.Sprint(arg), "{u}") })
		if strings.HasPrefix(cmd.Name(), "evalsha") && args[1] == c.digest && !otherTag {
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
// and no refused call writes; or, where the page says that the permission is for
// collecting alone, no call is refused and some stale entry stays. None breaks the
// invariant.
func TestAuditACL(t *testing.T) {
	for _, script := range wildkey.Scripts() {
		cases := corpus.Read(t, script.Name)
		for i, permissions := range permissionsOnPage(t, script.Name) {
			t.Run(script.Name+" "+strings.Join(permissions, " "), func(t *testing.T) {
				backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
					old := b.LacksReadOnlyScripts()
					if old && strings.HasPrefix(permissions[0], "%") {
						t.Skip("this server has no %R~")
					}
					t.Run("whole", func(t *testing.T) {
						for _, want := range cases {
							got := want.Run(t, calledBy(t, b, script, permissions, nil))
							if diff := cmp.Diff(want.String(), got.String()); diff != "" {
								t.Errorf("(-want +got)\n%s", diff)
							}
						}
					})
					if old {
						t.Skip("this server has no redis.acl_check_cmd: a call may be refused half way")
					}
					for missing, rest := range oneLess(permissions, i == 0) {
						t.Run("without "+missing, func(t *testing.T) {
							refused, changed := runWithout(t, b, script, cases, rest)
							if !slices.Contains(collectingOnPage(t, script.Name), missing) {
								if refused == 0 {
									t.Error("no call is refused: it is not needed")
								}
							} else if refused > 0 || changed == 0 {
								t.Errorf("%d calls are refused, %d cases end otherwise: it is not for collecting alone", refused, changed)
							}
						})
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

// calledBy returns this server as Case.Run wants it, with the calls of the
// script made by a user with these permissions. around, unless nil, is called
// before each call, and what it returns with the reply.
func calledBy(
	t *testing.T, b *backend.Backend, script wildkey.Script, permissions []string, around func() func(reply string),
) *backend.Backend {
	t.Helper()
	user := user(t, b, "app", permissions...)
	verb := "evalsha"
	if slices.Contains(permissions, "+evalsha_ro") || slices.Contains(permissions, "%R~{t}/keys") {
		verb = "evalsha_ro"
	}
	mixed := &backend.Backend{Client: b.Server.Client(t), Server: b.Server}
	mixed.Client.AddHook(scriptCaller{script.SHA1, func(cmd *redis.Cmd) error {
		after := func(string) {}
		if around != nil {
			after = around()
		}
		reply, err := user.Do(ctx, append([]any{verb}, cmd.Args()[1:]...)...).Result()
		cmd.SetVal(reply)
		cmd.SetErr(err)
		if err != nil && err != redis.Nil {
			reply = err
		}
		after(corpus.FormatReply(reply))
		return err
	}})
	return mixed
}

// snapshot is all that a server since Redis 7.0 holds, to the millisecond.
func snapshot(t *testing.T, b *backend.Backend) string {
	t.Helper()
	const all = `local names, all = redis.call('KEYS', '*'), {}
		table.sort(names)
		for _, name in ipairs(names) do
			all[#all + 1] = { name, redis.call('DUMP', name), redis.call('PEXPIRETIME', name) }
		end
		return all`
	return fmt.Sprintf("%q", b.Do(t, "EVAL", all, 0))
}

// runWithout runs a corpus with one permission missing. It returns how many calls
// were refused, and how many cases ended otherwise than they should.
func runWithout(
	t *testing.T, b *backend.Backend, script wildkey.Script, cases []corpus.Case, rest []string,
) (refused, changed int) {
	t.Helper()
	mixed := calledBy(t, b, script, rest, func() func(string) {
		before, breaches := snapshot(t, b), backend.Breaches(t, b.Client)
		return func(reply string) {
			for _, breach := range backend.Breaches(t, b.Client) {
				if !slices.Contains(breaches, breach) {
					t.Errorf("%s, after a call that replied %s", breach, reply)
				}
			}
			after := snapshot(t, b)
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
		if one.Run(t, mixed).String() != one.String() {
			changed++
		}
	}
	return refused, changed
}

// TestAuditRestrictedUser: a user who may see some records of a namespace puts
// these, whatever put.lua's collecting meets beside them.
func TestAuditRestrictedUser(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Namespace: "t"})
		for n := range 500 {
			backend.Must(t, cache.Put(ctx,
				wildkey.Record{Key: wildkey.K("job", n), TTL: time.Millisecond}, backend.Rec(wildkey.K("task", n), "v")))
		}
		b.Pass(5 * time.Millisecond)
		permissions := []string{"~{t}/keys", "~{t}:user:*"}
		for _, permission := range permissionsOnPage(t, "put")[0] {
			if !strings.HasPrefix(permission, "~") {
				permissions = append(permissions, permission)
			}
		}
		b.Do(t, "ACL", "LOG", "RESET")
		restricted, err := wildkey.New(user(t, b, "app", permissions...), wildkey.Options{Namespace: "t", TTL: time.Hour})
		backend.Must(t, err)
		failed := 0
		for n := range 1000 {
			if err := restricted.Put(ctx, backend.Rec(wildkey.K("user", n), "v")); err != nil {
				failed++
				t.Logf("put %d: %v", n, err)
			}
		}
		if failed > 0 {
			t.Errorf("%d of 1,000 puts fail", failed)
		}
		if met := b.Do(t, "ACL", "LOG"); len(met.([]any)) == 0 {
			t.Error("put.lua has looked at no other record: this test sees nothing")
		}
		if err := restricted.Put(ctx, backend.Rec(wildkey.K("job", 1), "v")); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("a put of a record that the user may not see: %v", err)
		}
		all, err := cache.Count(ctx, wildkey.MustParsePattern("user:*"))
		if all != 1000 || err != nil {
			t.Errorf("%d records of the user are there, %v", all, err)
		}
	})
}

// TestAuditEvalsha holds what the page says of a user who may call scripts and
// load none.
func TestAuditEvalsha(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		backend.Must(t, b.Cache(t, wildkey.Options{}).Load(ctx))
		put := corpus.MalformedCalls()["put"][0]
		putDigest := corpus.Script("put").SHA1
		foreign := func(source string) string {
			digest, err := b.Client.ScriptLoad(ctx, source).Result()
			backend.Must(t, err)
			return digest
		}
		alone := user(t, b, "alone", "~{t}/keys", "~{t}:*", "+evalsha")
		app := user(t, b, "app", permissionsOnPage(t, "put")[0]...)
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
				evalsha(putDigest, corpus.Call{Keys: []string{"{u}/keys", "{u}:a"}, Args: put.Args}), false},
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
			refused := err != nil && (denied.MatchString(corpus.FormatReply(err)) || redis.HasErrorPrefix(err, "unknown command"))
			if row.may && err != nil || !row.may && !refused {
				t.Errorf("%s: %v; allowed: %t", row.name, err, row.may)
			}
		}
		b.Do(t, "UNLINK", "{t}:elsewhere") // a record that no index knows, as such a user can leave
	})
}

func evalsha(digest string, call corpus.Call) []any {
	args := []any{"EVALSHA", digest, len(call.Keys)}
	for _, key := range call.Keys {
		args = append(args, key)
	}
	return append(args, call.Args...)
}

// TestAuditLockedMode: only an operator loads, and an application with all the
// ACL lines of the page does all that a Cache can.
func TestAuditLockedMode(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("this server has no EVALSHA_RO")
		}
		content, err := os.ReadFile(module.Path(auditPage))
		backend.Must(t, err)
		line := regexp.MustCompile(`(?m)^ *ACL SETUSER operator on >SECRET (.*)$`).FindStringSubmatch(string(content))
		operator := user(t, b, "operator", strings.Fields(line[1])...)
		var all []string
		for _, script := range wildkey.Scripts() {
			all = append(all, permissionsOnPage(t, script.Name)[0]...)
		}
		app := user(t, b, "app", all...)
		reader := user(t, b, "reader", append(permissionsOnPage(t, "match")[0], "+get")...)
		cache, err := wildkey.New(app, wildkey.Options{Namespace: "t", TTL: time.Hour, Preloaded: true})
		backend.Must(t, err)
		record := backend.Rec(wildkey.K("a", "b"), "v")
		if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrScriptMissing) {
			t.Errorf("Put before the scripts are loaded: %v", err)
		}
		for _, script := range wildkey.Scripts() {
			backend.Must(t, operator.ScriptLoad(ctx, script.Source).Err())
			if loaded := operator.ScriptExists(ctx, script.SHA1).Val(); !slices.Equal(loaded, []bool{true}) {
				t.Errorf("the operator does not see %s.lua: %v", script.Name, loaded)
			}
		}
		if err := operator.Get(ctx, "{t}:a:b").Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("the operator reads records: %v", err)
		}
		mayAll(t, cache, record)
		everything := wildkey.MustParsePattern("**")
		reading, err := wildkey.New(reader, wildkey.Options{Namespace: "t", TTL: time.Hour, Preloaded: true, LeaveStale: true})
		backend.Must(t, err)
		for name, err := range map[string]error{
			"Get":     errorOf(reading.Get(ctx, record.Key)),
			"GetMany": errorOf(reading.GetMany(ctx, record.Key)),
			"TTL":     errorOf(reading.TTL(ctx, record.Key)),
			"Collect": errorOf(reading.Collect(ctx, everything)),
			"Count":   errorOf(reading.Count(ctx, everything)),
		} {
			if err != nil {
				t.Errorf("%s of a reader: %v", name, err)
			}
		}
		if err := reading.Put(ctx, record); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Put of a reader: %v", err)
		}
		reindex := func() error { return errorOf(admin.Reindex(ctx, app, cache.Layout())) }
		touch := func() error { return errorOf(cache.GetTouch(ctx, time.Minute, record.Key)) }
		estimate := func() error { return errorOf(cache.Estimate(ctx, everything)) }
		for name, row := range map[string]struct {
			act        func() error
			permission string
		}{"Reindex": {reindex, "+scan"}, "GetTouch": {touch, "+getex"}, "Estimate": {estimate, "+zlexcount"}} {
			if err := row.act(); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("%s without %s: %v", name, row.permission, err)
			}
			b.Do(t, "ACL", "SETUSER", "app", row.permission)
			if err := row.act(); err != nil {
				t.Errorf("%s with %s: %v", name, row.permission, err)
			}
		}
		if err := cache.Load(ctx); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("Load without +script|exists: %v", err)
		}
		b.Do(t, "ACL", "SETUSER", "app", "+script|exists")
		if err := cache.Load(ctx); err != nil {
			t.Errorf("Load with +script|exists: %v", err)
		}
	})
}

// mayAll expects that the client of a cache may do all that it does with the
// permissions of the scripts. The record is there in the end.
func mayAll(t *testing.T, cache *wildkey.Cache, record wildkey.Record) {
	t.Helper()
	everything := wildkey.MustParsePattern("**")
	for name, err := range map[string]error{
		"Put":         cache.Put(ctx, record),
		"Get":         errorOf(cache.Get(ctx, record.Key)),
		"GetMany":     errorOf(cache.GetMany(ctx, record.Key, record.Key)),
		"TTL":         errorOf(cache.TTL(ctx, record.Key)),
		"Touch":       errorOf(cache.Touch(ctx, time.Minute, record.Key)),
		"Apply":       errorOf(cache.Apply(ctx, wildkey.OpCheck(record.Key).If(wildkey.Present()))),
		"Collect":     errorOf(cache.Collect(ctx, everything)),
		"Count":       errorOf(cache.Count(ctx, everything)),
		"List":        errorOfAll(cache.List(ctx, wildkey.MustParsePattern("*"))),
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

func errorOfAll(list iter.Seq2[wildkey.Item, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAuditCluster: with the lines of the page for all shards of a namespace,
// on every node, an application does all that a Cache can, and nothing in
// another namespace.
func TestAuditCluster(t *testing.T) {
	const namespace, encoded = "my app*", "my%20app%2A"
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		if c.Nodes[0].Program.Before(7, 0) {
			t.Skip("this server has no EVALSHA_RO")
		}
		userOf := func(name string, permissions ...string) *redis.ClusterClient {
			for _, node := range c.Nodes {
				user(t, &backend.Backend{Client: node.Client(t), Server: node}, name, permissions...)
			}
			return c.Client(t, func(o *redis.ClusterOptions) { o.Username, o.Password = name, "SECRET" })
		}
		var permissions []string
		for _, script := range wildkey.Scripts() {
			for _, permission := range permissionsOnPage(t, script.Name)[0] {
				permissions = append(permissions, strings.ReplaceAll(permission, "{t}", "{"+encoded+"#*}"))
			}
		}
		app := userOf("app", append(permissions, "+cluster|slots")...)
		lost := userOf("lost", permissions...)
		open := func(client wildkey.Client, namespace string, shards int) *wildkey.Cache {
			cache, err := wildkey.New(client, wildkey.Options{
				Namespace: namespace, TTL: time.Hour, Preloaded: true, Shards: shards,
			})
			backend.Must(t, err)
			return cache
		}
		cache := open(app, namespace, 8)
		operator, err := wildkey.New(c.Client(t, nil), wildkey.Options{})
		backend.Must(t, err)
		backend.Must(t, operator.Load(ctx))
		for i := range 8 {
			mayAll(t, cache, backend.Rec(wildkey.K(i), "v"))
		}
		for name, other := range map[string]*wildkey.Cache{
			"of which its own is the head": open(app, namespace+"more", 8),
			"without shards":               open(app, namespace, 1),
			"of any name":                  open(app, "other", 8),
			"without CLUSTER SLOTS":        open(lost, namespace, 8),
		} {
			if err := other.Put(ctx, backend.Rec(wildkey.K("a"), "v")); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("Put in a namespace %s: %v", name, err)
			}
		}
	})
}
