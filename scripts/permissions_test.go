package scripts

import (
	"bytes"
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

// TestAuditLockedMode: only an operator loads, and the application and the reader
// of the page do all that they may.
func TestAuditLockedMode(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		if b.LacksReadOnlyScripts() {
			t.Skip("this server has no EVALSHA_RO")
		}
		loader := user(t, b, "loader", lineOnPage(t, "loader")...)
		app := user(t, b, "app", replaced(t, lineOnPage(t, "app"), "+script|load", "+script|exists")...)
		reader := user(t, b, "reader", lineOnPage(t, "reader")...)
		options := wildkey.Options{Namespace: "app", Preloaded: true}
		cache := backend.Cache(t, app, options)
		record := backend.Rec(wildkey.K("a", "b"), "v")
		if err := cache.Put(ctx, record); !errors.Is(err, wildkey.ErrScriptMissing) {
			t.Errorf("Put before the scripts are loaded: %v", err)
		}
		for _, script := range wildkey.Scripts() {
			backend.Must(t, loader.ScriptLoad(ctx, script.Source).Err())
			if loaded := loader.ScriptExists(ctx, script.SHA1).Val(); !slices.Equal(loaded, []bool{true}) {
				t.Errorf("the loader does not see %s.lua: %v", script.Name, loaded)
			}
		}
		if err := loader.Get(ctx, "{app}:a:b").Err(); !redis.HasErrorPrefix(err, "NOPERM") {
			t.Errorf("the loader reads records: %v", err)
		}
		for _, failure := range failed(applies(t, cache, record.Key)) {
			t.Errorf("the application: %s", failure)
		}
		backend.Must(t, cache.Put(ctx, record))
		options.LeaveStale = true
		reading := backend.Cache(t, reader, options)
		for _, failure := range failed(reads(reading, record.Key)) {
			t.Errorf("the reader: %s", failure)
		}
		for name, err := range map[string]error{
			"Put":                    reading.Put(ctx, record),
			"Match(..., FromMaster)": errorOfAll(reading.Match(ctx, everything, wildkey.FromMaster())),
			"loading of the reader":  reader.ScriptLoad(ctx, "return 1").Err(),
			"loading of the app":     app.ScriptLoad(ctx, "return 1").Err(),
			"Reindex without +scan":  errorOf(admin.Reindex(ctx, app, cache.Layout())),
			"EVAL of the app":        app.Eval(ctx, "return 1", nil).Err(),
		} {
			if !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.Do(t, "ACL", "SETUSER", "app", "+scan")
		if err := errorOf(admin.Reindex(ctx, app, cache.Layout())); err != nil {
			t.Errorf("Reindex with +scan: %v", err)
		}
	})
}

func errorOf(_ any, err error) error { return err }

func errorOfAll[T any](list iter.Seq2[T, error]) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAuditCluster: with the line of the page for the shards of a namespace, on
// every node, an application does all that it may, and nothing in other shards or
// another namespace.
func TestAuditCluster(t *testing.T) {
	const namespace, encoded = "my app*", "my%20app%2A"
	redisserver.EachCluster(t, 3, 1, func(t *testing.T, c *redisserver.Cluster) {
		if c.Nodes[0].Program.Before(7, 0) {
			t.Skip("this server has no EVALSHA_RO")
		}
		content, err := os.ReadFile(module.Path(auditPage))
		backend.Must(t, err)
		userOf := func(name, shards string, permissions ...string) func(*redis.ClusterOptions) {
			if !bytes.Contains(content, []byte("`~{app"+shards+"}/keys` `~{app"+shards+"}:*`")) {
				t.Errorf("the page has no key patterns with %s", shards)
			}
			for _, permission := range lineOnPage(t, "app") {
				permissions = append(permissions, strings.ReplaceAll(permission, "{app}", "{"+encoded+shards+"}"))
			}
			for _, node := range c.Nodes {
				user(t, &backend.Backend{Client: node.Client(t), Server: node}, name, permissions...)
			}
			return func(o *redis.ClusterOptions) { o.Username, o.Password = name, "SECRET" }
		}
		open := func(client wildkey.Client, namespace string, shards, segments int) *wildkey.Cache {
			return backend.Cache(t, client, wildkey.Options{Namespace: namespace, Shards: shards, ShardSegments: segments})
		}
		app := c.Client(t, userOf("app", "#*/48/2", "+cluster|slots"))
		any := c.Client(t, userOf("any", "#*", "+cluster|slots"))
		lost := c.Client(t, userOf("lost", "#*"))
		for name, cache := range map[string]*wildkey.Cache{
			"48 shards":           open(app, namespace, 48, 2),
			"8 shards, with any":  open(any, namespace, 8, 1),
			"48 shards, with any": open(any, namespace, 48, 2),
		} {
			for _, failure := range failed(applies(t, cache, wildkey.K("a", "b"))) {
				t.Errorf("%s: %s", name, failure)
			}
		}
		for _, permission := range []string{"+readonly", "-readonly"} {
			replicas := c.Client(t, func(o *redis.ClusterOptions) {
				userOf("replicas", "#*", "+cluster|slots", permission)(o)
				o.ReadOnly = true
			})
			_, err := open(replicas, namespace, 48, 2).Count(ctx, everything)
			if refused := redis.HasErrorPrefix(err, "NOPERM"); refused != (permission == "-readonly") || !refused && err != nil {
				t.Errorf("Count on replicas with %s: %v", permission, err)
			}
		}
		for name, other := range map[string]*wildkey.Cache{
			"a namespace of which its own is the head": open(app, namespace+"more", 48, 2),
			"a namespace without shards":               open(any, namespace, 1, 1),
			"another number of shards":                 open(app, namespace, 8, 2),
			"shards by another number of segments":     open(app, namespace, 48, 1),
			"a namespace with # in its name":           open(any, namespace+"#0", 48, 2),
			"a cluster without CLUSTER SLOTS":          open(lost, namespace, 48, 2),
		} {
			if err := other.Put(ctx, backend.Rec(wildkey.K("a", "b"), "v")); !redis.HasErrorPrefix(err, "NOPERM") {
				t.Errorf("Put in %s: %v", name, err)
			}
		}
	})
}
