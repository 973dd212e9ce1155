// Package clients runs the clients in other languages against servers, and
// beside the Go package.
package clients

import (
	"cmp"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

// requireClients names the variable that, set to 1, turns a missing
// interpreter or library of another language from a skip into a failure.
const requireClients = "WILDKEY_REQUIRE_CLIENTS"

// otherClient is the client of another language, by its conformance runner.
type otherClient struct {
	name   string
	needs  []string // a command that succeeds where all that the runner needs is installed
	runner []string
}

var otherClients = []otherClient{
	{
		"python",
		[]string{"python3", "-c", "import redis"},
		[]string{"python3", "clients/python/conformance.py"},
	},
	{
		"node",
		[]string{"node", "-e", "require.resolve('redis', { paths: ['./clients/node'] })"},
		[]string{"node", "clients/node/conformance.js"},
	},
	{
		"shell",
		[]string{"sh", "-c", "command -v redis-cli && command -v jq && command -v iconv"},
		[]string{"sh", "clients/shell/conformance.sh"},
	},
}

// python is the interpreter that has redis-py: another one may come first in
// the PATH than that of the system, whose packages it does not see.
func python() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import redis").Run() == nil {
			return python
		}
	}
	return "python3"
}

func (c otherClient) require(t *testing.T) {
	t.Helper()
	output, err := c.command(c.needs...).CombinedOutput()
	if err == nil {
		return
	}
	if os.Getenv(requireClients) == "1" {
		t.Fatalf("%s=1, and %q: %v\n%s", requireClients, c.needs, err, output)
	}
	t.Skipf("%q: %v", c.needs, err)
}

func (c otherClient) command(words ...string) *exec.Cmd {
	if words[0] == "python3" {
		words = append([]string{python()}, words[1:]...)
	}
	command := exec.Command(words[0], words[1:]...)
	command.Dir = module.Path(".")
	return command
}

// run runs the conformance runner against the server and returns what it prints.
func (c otherClient) run(t *testing.T, b *backend.Backend, input string, args ...string) string {
	t.Helper()
	output, err := c.start(b, input, args...)
	if err != nil {
		t.Error(err)
	}
	return output
}

func (c otherClient) start(b *backend.Backend, input string, args ...string) (string, error) {
	command := c.command(slices.Concat(c.runner, args)...)
	command.Env = append(os.Environ(), "REDIS_URL=redis://"+b.Server.Addr, "PYTHONDONTWRITEBYTECODE=1")
	command.Stdin = strings.NewReader(input)
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%q: %w\n%s%s", command.Args, err, output, complaints.String())
	}
	return string(output), err
}

// preludes begin a program in the language of a client: its client is
// connected to the server of REDIS_URL.
var preludes = map[string]string{
	"python": "import os, redis\nfrom datetime import timedelta\nfrom wildkey import *\nclient = redis.Redis.from_url(os.environ['REDIS_URL'])\n",
	"node": "import { createClient } from 'redis'\nimport { encodeKey, equal, shard, Wildkey } from './wildkey.js'\n" +
		"const client = await createClient({ url: process.env.REDIS_URL }).connect()\n",
}

// program returns the code behind its prelude as a command to run, beside the client.
func (c otherClient) program(code string) *exec.Cmd {
	interpreter := map[string][]string{
		"python": {"python3", "-c"}, "node": {"node", "--input-type=module", "-e"}, "shell": {"sh", "-euc"},
	}[c.name]
	command := c.command(append(interpreter, preludes[c.name]+code)...)
	command.Dir = module.Path("clients/" + c.name)
	return command
}

// interpret runs the code on a server.
func (c otherClient) interpret(b *backend.Backend, code string) (string, error) {
	command := c.program(code)
	command.Env = append(os.Environ(), "REDIS_URL=redis://"+b.Server.Addr, "PYTHONDONTWRITEBYTECODE=1")
	output, err := command.CombinedOutput()
	return string(output), err
}

// onOneServer runs a test on the first server. How servers differ is for the
// tests in Go, which are quicker.
func onOneServer(t *testing.T, test func(t *testing.T, b *backend.Backend), options ...string) {
	t.Helper()
	programs, err := redisserver.Programs()
	if err != nil {
		redisserver.EachProgram(t, nil) // says so
		return
	}
	programs[0].Test(t, func(t *testing.T) {
		server, err := programs[0].Run(options...)
		backend.Must(t, err)
		t.Cleanup(server.Close)
		b := &backend.Backend{Client: server.Client(t), Server: server}
		test(t, b)
		b.CheckInvariant(t)
	})
}

// onOtherClients runs a test for the client of each other language, on a
// server of its own whose script cache is empty.
func onOtherClients(t *testing.T, test func(t *testing.T, b *backend.Backend, c otherClient), options ...string) {
	t.Helper()
	for _, client := range otherClients {
		t.Run(client.name, func(t *testing.T) {
			client.require(t)
			onOneServer(t, func(t *testing.T, b *backend.Backend) { test(t, b, client) }, options...)
		})
	}
}

// TestClientsPassVectors has each client's runner check all vectors.
func TestClientsPassVectors(t *testing.T) {
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		if b.Server.Program.Before(7, 0) {
			t.Skip("the vectors' errors are in the words of Redis 7.0")
		}
		c.run(t, b, "", "vectors", module.Path(vectorsPath))
		for _, script := range wildkey.Scripts() {
			if loaded, err := b.Client.ScriptExists(ctx, script.SHA1).Result(); err != nil || !loaded[0] {
				t.Errorf("%s.lua was never loaded: %v", script.Name, err)
			}
		}
	})
}

const clientsNamespace = "odd ns/é"

var allBytes = func() string {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	return string(all)
}()

// clientsRecords are the records that each language writes and each reads.
var clientsRecords = []wildkey.Record{
	{Key: wildkey.K("user", 42, "session", "abc"), Value: []byte("laptop"), TTL: time.Hour},
	{Key: wildkey.K("user", 42, "session", "xyz"), Value: []byte(allBytes), TTL: time.Hour},
	{Key: wildkey.K("user", 42), Value: nil, TTL: wildkey.NoExpiry},
	{Key: wildkey.K("user", 420, "session", "é 日本"), Value: []byte("line\n"), TTL: 40 * time.Minute},
	{Key: wildkey.K(allBytes), Value: []byte("\x00"), TTL: wildkey.NoExpiry},
	{Key: wildkey.K("\x00", "\xff*", ":", "%41"), Value: []byte(" spaces  inside "), TTL: time.Hour},
	{Key: wildkey.K("*", "**"), Value: []byte(`"quoted" \ 'text' $HOME`), TTL: time.Hour},
	{Key: wildkey.K(strings.Repeat("k", 4096)), Value: []byte(strings.Repeat("\xffv\n", 20_000)), TTL: time.Hour},
}

// TestClientsAcrossLanguages has each language write, and every language read
// what it wrote, Go included.
func TestClientsAcrossLanguages(t *testing.T) {
	type language struct {
		name string
		run  func(t *testing.T, b *backend.Backend, lines string) string
	}
	languages := []language{{"go", runLines}}
	for _, client := range otherClients {
		languages = append(languages, language{client.name, func(t *testing.T, b *backend.Backend, lines string) string {
			client.require(t)
			return client.run(t, b, lines, "lines", url.PathEscape(clientsNamespace), "2")
		}})
	}

	var writes, written, reads, read string
	for _, record := range clientsRecords {
		value := wildkey.K(record.Value).String()
		writes += fmt.Sprintf("put %s %s * %s\n", record.Key, ttlText(record.TTL), value)
		written += "ok\n"
		reads += fmt.Sprintf("get %s\n", record.Key)
		read += fmt.Sprintf("=%s\n", value)
	}
	// What a client does beyond that, each line with its answer.
	for _, line := range [][2]string{
		{"put user:42:session:abc 3600000 - other", "condition"},
		{"put user:42:session:abc 3600000 =desk other", "condition"},
		{"put user:42:session:abc 3600000 =laptop laptop", "ok"},
		{"put lock 3600000 - x%00", "ok"}, {"put lock 3600000 =x%00 y", "ok"}, {"put lock 3600000 + ", "ok"}, {"get lock", "="},
		{"put lock keep + z", "ok"}, {"put lock keep #" + sha1Of("y") + " z", "condition"},
		{"put lock keep #" + sha1Of("z") + " y", "ok"}, {"put nobody keep * v", "condition"},
		{"touch 7200000 lock user:42:nobody", "1"}, {"touch never user:42", "1"},
		{"delete lock user:42:nobody", "1"}, {"delete lock", "0"}, {"get lock", "none"},
		{"put lock never - %00", "ok"}, {"take lock", "=%00"}, {"take lock", "none"},
		{"apply put new:1 3600000 - x%00;put new:2 never + ;delete user:42", "-2"}, {"get new:1", "none"}, {"count new:*", "0"},
		{"apply put new:1 3600000 - x%00;put new:2 never * ;put user:42:session:abc keep =laptop laptop", "3"},
		{"apply check user:42 =;touch new:2 3600000;touch nobody never;delete new:1 =x%00;delete none", "2"},
		{"apply check new:2 -", "-1"}, {"apply check new:2 +", "0"}, {"apply put a never * v;delete a", "refused"},
		{"apply put new:3 never * 3;put new:4 never * 4", "2"}, {"count new:*", "3"}, {"touch-match 3600000 new:*", "3"},
		{"delete-match new:*", "3"}, {"delete-match new:*", "0"}, {"touch-match 3600000 new:*", "0"},
		{"touch-match 3600000 user:42:session:*", "2"}, {"touch-match never user:42", "1"},
		// A loader of user:7, another one, and an invalidation of all users while user:8 is loaded.
		{"apply check user:7 -;put !user:7 3600000 - token", "0"}, {"get !user:7", "=token"}, {"get user:7", "none"},
		{"apply check user:7 -;put !user:7 3600000 - other", "-2"}, {"keys !user:*", "user:7\nend"}, {"keys user:7", "end"},
		{"apply delete !user:7 =other;put user:7 3600000 - late", "-1"},
		{"apply delete !user:7 =token;put user:7 3600000 - Ann", "1"}, {"get !user:7", "none"},
		{"apply check user:7 -;put !user:7 3600000 - token", "-1"}, {"apply put !user:8 3600000 - token", "0"},
		{"count !**", "1"}, {"delete-match !user:*", "0"}, {"count !**", "0"}, {"delete user:7", "1"},
		{"apply delete !user:8 =token;put user:8 3600000 - late", "-1"}, {"apply put !!a never * v", "refused"},
		{"put a::b never * v", "refused"}, {"get %41", "refused"}, {"match a::b", "refused"}, {"delete a b*", "refused"},
		{"put a 0 * v", "refused"}, {"put a -1 * v", "refused"}, {"touch 0 user:42", "refused"}, {"touch keep user:42", "refused"},
		{"touch-match 0 **", "refused"}, {"apply touch user:42 0", "refused"}, {"take a::b", "refused"},
		{"count a::b", "refused"}, {"delete-match a::b", "refused"}, {"get a", "none"}, {"load", "ok"},
	} {
		writes += line[0] + "\n"
		written += line[1] + "\n"
	}
	patterns := []string{"**", "user:42:**", "user:42:session:*", "user:4*:session:*", "%2A:*", "*:*", "nobody:**"}
	inOrder := slices.Clone(clientsRecords)
	slices.SortFunc(inOrder, func(a, b wildkey.Record) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	for _, pattern := range patterns {
		var keys, entries, records string
		count := 0
		for _, record := range inOrder {
			if wildkey.MustParsePattern(pattern).Matches(record.Key) {
				keys += record.Key.String() + "\n"
				entry := record.Key.String() + "=" + wildkey.K(record.Value).String()
				entries += entry + "\n"
				records += entry + " " + ttlText(record.TTL) + "\n"
				count++
			}
		}
		reads += fmt.Sprintf("match %s\nrecords %[1]s\nkeys %[1]s\ncount %[1]s\n", pattern)
		read += fmt.Sprintf("%send\n%send\n%send\n%d\n", entries, records, keys, count)
	}

	for _, writer := range languages {
		t.Run(writer.name+" writes", func(t *testing.T) {
			onOneServer(t, func(t *testing.T, b *backend.Backend) {
				expectLines(t, written, writer.run(t, b, writes))
				checkTTLs(t, b)
				for _, reader := range languages {
					t.Run(reader.name+" reads", func(t *testing.T) {
						expectLines(t, read, roundTTLs(reader.run(t, b, reads)))
					})
				}
			})
		})
	}
	t.Run("all on the engine", func(t *testing.T) {
		for _, writer := range languages {
			b := onEngine(t)
			expectLines(t, written, writer.run(t, b, writes))
			for _, reader := range languages {
				expectLines(t, read, roundTTLs(reader.run(t, b, reads)))
			}
		}
	})
}

// onEngine returns an engine to which any client can connect, as a server.
func onEngine(t *testing.T) *backend.Backend {
	t.Helper()
	t.Setenv("REDIS_RESP", "2") // node-redis would speak RESP3
	engine := luatest.Live()
	addr, err := engine.Listen("127.0.0.1:0")
	backend.Must(t, err)
	client := engine.Client()
	t.Cleanup(func() {
		client.Close()
		engine.Close()
	})
	return &backend.Backend{Client: client, Engine: engine, Server: &redisserver.Server{Addr: addr}}
}

// ttlText is a TTL as a line has it.
func ttlText(ttl time.Duration) string {
	if ttl == wildkey.NoExpiry {
		return "never"
	}
	return strconv.FormatInt(ttl.Milliseconds(), 10)
}

func sha1Of(value string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(value))) }

var timeLeft = regexp.MustCompile(`(?m) \d+$`)

// roundTTLs makes of the time that a record has left, up to a quarter of an hour
// after it was written, the TTL that it was written with: those are whole multiples
// of 20 minutes.
func roundTTLs(answers string) string {
	const step = 20 * 60_000
	return timeLeft.ReplaceAllStringFunc(answers, func(left string) string {
		ms, err := strconv.Atoi(left[1:])
		if err != nil {
			return left
		}
		return fmt.Sprintf(" %d", (ms+step-1)/step*step)
	})
}

// expectLines shows the heads of lines that differ: some are long.
func expectLines(t *testing.T, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	var heads [2][]string
	for i, text := range []string{want, got} {
		for _, line := range strings.Split(text, "\n") {
			heads[i] = append(heads[i], fmt.Sprintf("%.100s (%d bytes)", line, len(line)))
		}
	}
	t.Errorf("(-want +got)\n%s", gocmp.Diff(heads[0], heads[1]))
}

// checkTTLs holds the time left of each record against the TTL that it was
// written with, to a quarter of an hour.
func checkTTLs(t *testing.T, b *backend.Backend) {
	t.Helper()
	for _, record := range clientsRecords {
		name := "{" + wildkey.K(clientsNamespace).String() + "}:" + record.Key.String()
		left := b.Client.PTTL(ctx, name).Val()
		low, high := record.TTL-15*time.Minute, record.TTL
		if record.TTL == wildkey.NoExpiry {
			low, high = -1, -1
		}
		if left < low || left > high {
			t.Errorf("%s has %v left, and its TTL is %v", record.Key, left, record.TTL)
		}
	}
}

// runLines is what the runners of the other languages do with such lines.
func runLines(t *testing.T, b *backend.Backend, lines string) string {
	t.Helper()
	cache, err := wildkey.New(b.Client, wildkey.Options{Namespace: clientsNamespace, PageLimit: 2})
	backend.Must(t, err)
	bytesOf := func(text string) []byte {
		value, err := url.PathUnescape(text)
		backend.Must(t, err)
		return []byte(value)
	}
	ttlOf := func(word string) time.Duration {
		switch word {
		case "never":
			return wildkey.NoExpiry
		case "keep":
			return wildkey.KeepTTL
		}
		ms, err := strconv.ParseInt(word, 10, 64)
		backend.Must(t, err)
		return time.Duration(ms) * time.Millisecond
	}
	conditionOf := func(word string) wildkey.Condition {
		switch word[0] {
		case '-':
			return wildkey.Absent()
		case '+':
			return wildkey.Present()
		case '=':
			return wildkey.Equal(bytesOf(word[1:]))
		case '#':
			return wildkey.EqualSHA1(word[1:])
		}
		return wildkey.Condition{}
	}
	keysOf := func(words []string) (keys []wildkey.Key, err error) {
		for _, word := range words {
			key, errKey := wildkey.ParseKey(word)
			keys, err = append(keys, key), errors.Join(err, errKey)
		}
		return keys, err
	}
	putOf := func(words []string) wildkey.Op {
		keys, _ := keysOf(words[:1]) // a key that is none is refused with the rest
		return wildkey.OpPut(wildkey.Record{
			Key: keys[0], TTL: ttlOf(words[1]), If: conditionOf(words[2]), Value: bytesOf(strings.Join(words[3:], "")),
		})
	}
	// A ! before a key names its lease.
	onLease := func(words []string, opOf func(words []string) wildkey.Op) wildkey.Op {
		if key, ok := strings.CutPrefix(words[0], "!"); ok {
			return opOf(slices.Concat([]string{key}, words[1:])).OnLease()
		}
		return opOf(words)
	}
	operations := map[string]func(words []string) wildkey.Op{
		"put": func(words []string) wildkey.Op { return onLease(words, putOf) },
		"touch": func(words []string) wildkey.Op {
			keys, _ := keysOf(words[:1])
			return wildkey.OpTouch(keys[0], ttlOf(words[1])).If(conditionOf(append(words, "*")[2]))
		},
		"delete": func(words []string) wildkey.Op {
			return onLease(words, func(words []string) wildkey.Op {
				keys, _ := keysOf(words[:1])
				return wildkey.OpDelete(keys[0]).If(conditionOf(append(words, "*")[1]))
			})
		},
		"check": func(words []string) wildkey.Op {
			keys, _ := keysOf(words[:1])
			return wildkey.OpCheck(keys[0]).If(conditionOf(words[1]))
		},
	}
	onKeys := func(words []string, verb func(keys []wildkey.Key) (any, error)) (any, error) {
		keys, err := keysOf(words)
		if err != nil {
			return nil, err
		}
		return verb(keys)
	}
	onPattern := func(text string, verb func(pattern wildkey.Pattern) (any, error)) (any, error) {
		text, leases := strings.CutPrefix(text, "!")
		pattern, err := wildkey.ParsePattern(text)
		if err != nil {
			return nil, err
		}
		if leases {
			pattern = pattern.Leases()
		}
		return verb(pattern)
	}
	verbs := map[string]func(words []string) (answer any, err error){
		"put": func(words []string) (any, error) {
			_, err := cache.Apply(ctx, putOf(words))
			return "ok", err
		},
		"apply": func(words []string) (any, error) {
			var ops []wildkey.Op
			for _, line := range strings.Split(strings.Join(words, " "), ";") {
				words := strings.Split(line, " ")
				ops = append(ops, operations[words[0]](words[1:]))
			}
			n, err := cache.Apply(ctx, ops...)
			if failed := new(wildkey.ConditionError); errors.As(err, &failed) {
				return -1 - failed.Index, nil
			}
			return n, err
		},
		"get": func(words []string) (any, error) {
			if strings.HasPrefix(words[0], "!") {
				return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) {
					found, err := cache.Collect(ctx, pattern)
					if len(found) == 0 {
						return nil, cmp.Or(err, wildkey.ErrNotFound)
					}
					return "=" + wildkey.K(found[0].Value).String(), err
				})
			}
			return onKeys(words, func(keys []wildkey.Key) (any, error) {
				value, err := cache.Get(ctx, keys[0])
				return "=" + wildkey.K(value).String(), err
			})
		},
		"take": func(words []string) (any, error) {
			return onKeys(words, func(keys []wildkey.Key) (any, error) {
				value, err := cache.Take(ctx, keys[0])
				return "=" + wildkey.K(value).String(), err
			})
		},
		"delete": func(words []string) (any, error) {
			return onKeys(words, func(keys []wildkey.Key) (any, error) { return cache.Delete(ctx, keys...) })
		},
		"touch": func(words []string) (any, error) {
			return onKeys(words[1:], func(keys []wildkey.Key) (any, error) { return cache.Touch(ctx, ttlOf(words[0]), keys...) })
		},
		"match": func(words []string) (any, error) {
			return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) {
				found, err := cache.Collect(ctx, pattern)
				var answer string
				for _, entry := range found {
					answer += entry.Key.String() + "=" + wildkey.K(entry.Value).String() + "\n"
				}
				return answer + "end", err
			})
		},
		"records": func(words []string) (any, error) {
			return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) {
				var answer string
				var err error
				for entry, errMatch := range cache.Match(ctx, pattern, wildkey.WithTTL()) {
					answer += fmt.Sprintf("%s=%s %s\n", entry.Key, wildkey.K(entry.Value), ttlText(entry.TTL))
					err = cmp.Or(err, errMatch)
				}
				return answer + "end", err
			})
		},
		"keys": func(words []string) (any, error) {
			return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) {
				var answer string
				var err error
				for key, errMatch := range cache.MatchKeys(ctx, pattern) {
					answer, err = answer+key.String()+"\n", cmp.Or(err, errMatch)
				}
				return answer + "end", err
			})
		},
		"count": func(words []string) (any, error) {
			return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) { return cache.Count(ctx, pattern) })
		},
		"delete-match": func(words []string) (any, error) {
			return onPattern(words[0], func(pattern wildkey.Pattern) (any, error) { return cache.DeleteMatch(ctx, pattern) })
		},
		"touch-match": func(words []string) (any, error) {
			return onPattern(words[1], func(pattern wildkey.Pattern) (any, error) {
				return cache.TouchMatch(ctx, ttlOf(words[0]), pattern)
			})
		},
		"load": func([]string) (any, error) { return "ok", cache.Load(ctx) },
	}
	var answers strings.Builder
	for _, line := range strings.Split(strings.TrimSuffix(lines, "\n"), "\n") {
		words := strings.Split(line, " ")
		answer, err := verbs[words[0]](words[1:])
		switch {
		case errors.Is(err, wildkey.ErrCondition):
			answer = "condition"
		case errors.Is(err, wildkey.ErrNotFound):
			answer = "none"
		case errors.Is(err, wildkey.ErrInvalidKey), errors.Is(err, wildkey.ErrBadPattern),
			errors.Is(err, wildkey.ErrInvalidTTL), errors.Is(err, wildkey.ErrBadArgument):
			answer = "refused"
		default:
			backend.Must(t, err)
		}
		fmt.Fprintln(&answers, answer)
	}
	return answers.String()
}

// TestClientsSweep has each client page over an index entry whose record is
// gone and one that no client wrote: it lists neither, and the first is swept.
func TestClientsSweep(t *testing.T) {
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		b.Do(t, "ZADD", "{test}/keys", 0, "a", 0, "gone", 0, "no key\n")
		b.Do(t, "MSET", "{test}:a", "1", "{test}:no key\n", "2")
		got := c.run(t, b, "match **\nkeys **\n", "lines", "test", "1")
		expectLines(t, "a=1\nend\na\nend\n", got)
		if diff := gocmp.Diff([]string{"a", "no key\n"}, b.Members(t)); diff != "" {
			t.Errorf("index (-want +got)\n%s", diff)
		}
	})
}

// TestClientsShards runs what clients/README.md has for shards: in each language
// the record comes where Go, and the other examples, look for it.
func TestClientsShards(t *testing.T) {
	for name, example := range map[string]struct{ language, after string }{
		"python": {"python", "print(len(users), len(names))\n"},
		"node":   {"js", "console.log(found.length, found.length)\nclient.destroy()\n"},
		"shell":  {"sh", "echo 1 1\n"},
	} {
		blocks := page.Code(t, "clients/README.md", example.language)
		c := otherClients[slices.IndexFunc(otherClients, func(c otherClient) bool { return c.name == name })]
		t.Run(name, func(t *testing.T) {
			c.require(t)
			onOneServer(t, func(t *testing.T, b *backend.Backend) {
				output, err := c.interpret(b, strings.Join(blocks, "")+example.after)
				if err != nil || !strings.HasSuffix(output, "1 1\n") {
					t.Fatalf("%v\n%s", err, output)
				}
				cache := b.Cache(t, wildkey.Options{Namespace: "app", Shards: 8})
				value, err := cache.Get(ctx, wildkey.K("user", 42))
				if string(value) != "Ann" || err != nil {
					t.Errorf("Get: %q, %v", value, err)
				}
			})
		})
	}
}

// TestClientsCluster has the Python client, which alone is told to, work on a
// cluster whose nodes have the shards.
func TestClientsCluster(t *testing.T) {
	python := otherClients[0]
	python.require(t)
	const script = `
import asyncio, sys, redis, redis.asyncio
from datetime import timedelta
import wildkey.asyncio
from wildkey import *

host, port = sys.argv[1].split(":")
cache = Wildkey(redis.RedisCluster(host=host, port=int(port)), "app", ttl=timedelta(minutes=1), shards=8)
cache.load()
assert cache.put_each(Record((i,), str(i)) for i in range(20)).done == 20
for entry in cache.match("*"):
    assert cache.get(entry.key) == entry.value and cache.touch(NO_EXPIRY, entry.key) == 1
    print(entry.value.decode())
assert cache.delete((7,)) == 1
assert Fetcher(cache).get(("fetched",), lambda: "v") == b"v" and cache.take(("fetched",)) == b"v"

async def main():
    client = redis.asyncio.RedisCluster(host=host, port=int(port))
    cache = wildkey.asyncio.Wildkey(client, "app", ttl=timedelta(minutes=1), shards=8)
    await cache.load()
    found = [entry async for entry in cache.match("*", with_ttl=True)]
    assert len(found) == 19 and all(entry.ttl is NO_EXPIRY for entry in found)
    assert await cache.get_many(*((i,) for i in range(20))) == [None if i == 7 else b"%d" % i for i in range(20)]
    await cache.put(Record(("asyncio",), "v"))
    assert await cache.delete(("asyncio",)) == 1
    fetcher = wildkey.asyncio.Fetcher(cache)
    assert await fetcher.get(("fetched",), lambda: "v") == b"v" and await fetcher.delete_match("**") == 20
    await cache.put_each([Record((i,), "v") for i in range(19)])
    await client.close()

asyncio.run(main())
`
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		command := python.command("python3", "-c", script, cluster.Nodes[0].Addr)
		command.Dir = module.Path("clients/python")
		command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		var complaints strings.Builder // redis-py also logs here what the client copes with
		command.Stderr = &complaints
		output, err := command.Output()
		if lines := strings.Count(string(output), "\n"); err != nil || lines != 20 {
			t.Errorf("%v\n%s%s", err, output, complaints.String())
		}
		cache, err := wildkey.New(cluster.Client(t, nil), wildkey.Options{Namespace: "app", Shards: 8})
		backend.Must(t, err)
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("*")); n != 19 || err != nil {
			t.Errorf("Go counts %d of 19, %v", n, err)
		}
	})
}

// TestClientsPreloaded expects that a client which may not load scripts does
// not, and works where they are there.
func TestClientsPreloaded(t *testing.T) {
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		run := func(want string) {
			t.Helper()
			got := c.run(t, b, "load\nput a never * v\nmatch **\n", "lines", "test", "1", "preloaded")
			expectLines(t, want, got)
		}
		run("error\nerror\nerror\n")
		for _, script := range wildkey.Scripts() {
			if b.Client.ScriptExists(ctx, script.SHA1).Val()[0] {
				t.Errorf("%s.lua was loaded", script.Name)
			}
			corpus.Load(t, b.Client, script.Name)
		}
		run("ok\nok\na=v\nend\n")
	})
}

// TestClientsWithoutEvalshaRO runs each client on a server that, as Redis 6.2
// does, lacks EVALSHA_RO. In a client that several calls share, one has found
// that out when others, which also sent EVALSHA_RO, are still to be told.
func TestClientsWithoutEvalshaRO(t *testing.T) {
	var without []string
	if programs, err := redisserver.Programs(); err == nil && !programs[0].Before(7, 0) {
		without = []string{"--rename-command", "EVALSHA_RO", ""}
	}
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		got := c.run(t, b, "put a never * v\nmatch **\n", "lines", "test", "1")
		expectLines(t, "ok\na=v\nend\n", got)

		code := map[string]string{
			"python": `
class Slow(redis.Redis):
    """From its first command to the reply, another call goes through."""
    other = None
    def execute_command(self, *words):
        other, self.other = self.other, None
        try:
            return super().execute_command(*words)
        finally:
            if other:
                other()
slow = Slow.from_url(os.environ["REDIS_URL"])
cache = Wildkey(slow, "test")
slow.other = lambda: print(len(list(cache.match("**"))))
print(len(list(cache.match("**"))))
`,
			"node": `
const cache = new Wildkey(client, { namespace: 'test' })
const count = async () => {
  let n = 0
  for await (const _ of cache.match('**')) n++
  return n
}
console.log((await Promise.all([count(), count()])).join('\n'))
client.destroy()
`,
		}[c.name]
		if code == "" {
			return // one call a process
		}
		if got, err := c.interpret(b, code); err != nil || got != "1\n1\n" {
			t.Errorf("two calls at once: %v\n%s", err, got)
		}
	}, without...)
}

// TestClientsRefuseHalfCharacters expects that text which has no UTF-8, as a
// half of a surrogate pair is left alone, is refused and not replaced: two keys
// would become one. In Go and in the shell, text is bytes.
func TestClientsRefuseHalfCharacters(t *testing.T) {
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		code := map[string]string{
			"python": `
cache = Wildkey(client, "test")
cache.put(Record(("\U0001f511",), "\U0001f511", NO_EXPIRY))
cache.put(Record(("\U0001f511",), "\U0001f512", NO_EXPIRY, equal("\U0001f511")))
for half in "\ud800", "\udfff", "a\udd11\ud83d":
    for call in (
        lambda: encode_key([half]),
        lambda: Wildkey(client, half),
        lambda: cache.get(["a", half]),
        lambda: cache.delete([half]),
        lambda: cache.touch(NO_EXPIRY, [half]),
        lambda: cache.put(Record([half], "v", NO_EXPIRY)),
        lambda: cache.put(Record(["a"], half, NO_EXPIRY)),
        lambda: cache.put(Record(["a"], "v", NO_EXPIRY, equal(half))),
        lambda: cache.put(Record(["a"], "v", NO_EXPIRY, "=" + half)),
        lambda: list(cache.match(half)),
        lambda: list(cache.match_keys(half + "*")),
    ):
        try:
            print("not refused:", ascii(call()))
        except ValueError:
            pass
`,
			"node": `
const cache = new Wildkey(client, { namespace: 'test', ttl: 'never' })
await cache.put({ key: ['\u{1f511}'], value: '\u{1f511}' })
await cache.put({ key: ['\u{1f511}'], value: '\u{1f512}', condition: equal('\u{1f511}') })
for (const half of ['\ud800', '\udfff', 'a\udd11\ud83d']) {
  for (const call of [
    () => encodeKey([half]),
    () => new Wildkey(client, { namespace: half }),
    () => cache.get(['a', half]),
    () => cache.delete([half]),
    () => cache.touch('never', [half]),
    () => cache.put({ key: [half], value: 'v' }),
    () => cache.put({ key: ['a'], value: half }),
    () => cache.put({ key: ['a'], value: 'v', condition: equal(half) }),
    () => cache.put({ key: ['a'], value: 'v', condition: '=' + half }),
    () => cache.match(half).next(),
    () => cache.matchKeys(half + '*').next(),
  ]) {
    try {
      console.log('not refused:', String(call), await call())
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
    }
  }
}
client.destroy()
`,
		}[c.name]
		if code == "" {
			return
		}
		if output, err := c.interpret(b, code); err != nil || output != "" {
			t.Errorf("%v\n%s", err, output)
		}
		if value := b.Client.Get(ctx, "{test}:%F0%9F%94%91").Val(); value != "\U0001f512" {
			t.Errorf("the record of a whole character is %q", value)
		}
	})
}

// TestClientsCheckDigests expects that a client loads the scripts of a directory
// that it is given, and none that is not what SHA1SUMS there says.
func TestClientsCheckDigests(t *testing.T) {
	onOtherClients(t, func(t *testing.T, b *backend.Backend, c otherClient) {
		scripts := t.TempDir()
		t.Setenv("WILDKEY_SCRIPTS", scripts)
		backend.Must(t, os.CopyFS(scripts, os.DirFS(module.Path("scripts"))))
		expectLines(t, "ok\n", c.run(t, b, "load\n", "lines", "test", "1"))

		backend.Must(t, b.Client.ScriptFlush(ctx).Err())
		put := filepath.Join(scripts, "put.lua")
		source, err := os.ReadFile(put)
		backend.Must(t, err)
		source = append(source, '\n')
		backend.Must(t, os.WriteFile(put, source, 0o666))
		output, err := c.start(b, "put a never * v\n", "lines", "test", "1")
		if err == nil && output != "error\n" {
			t.Errorf("an altered put.lua: %q", output)
		}
		if b.Client.ScriptExists(ctx, fmt.Sprintf("%x", sha1.Sum(source))).Val()[0] {
			t.Error("an altered put.lua was loaded")
		}
	})
}

// TestClientsOnEngine has each client's runner check all vectors on the embedded
// engine, by way of its listener.
func TestClientsOnEngine(t *testing.T) {
	for _, client := range otherClients {
		t.Run(client.name, func(t *testing.T) {
			client.require(t)
			b := onEngine(t)
			client.run(t, b, "", "vectors", module.Path(vectorsPath))
			if loaded := b.Engine.Do("SCRIPT", "EXISTS", wildkey.Scripts()[0].SHA1); luatest.Text(loaded) != "[1]" {
				t.Errorf("%s was never loaded: %v", wildkey.Scripts()[0].Name, loaded)
			}
		})
	}
}
