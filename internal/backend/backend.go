// Package backend runs a test on the engine of luatest and on redis-servers,
// and has what such tests ask of either.
package backend

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

// patience is for a command of a million entries, and for a machine that is busy.
const patience = time.Minute

// Backend is a server that one test has to itself: the engine of luatest, or
// a process of a Redis or Valkey.
type Backend struct {
	Client *redis.Client
	Engine *luatest.Engine     // nil on a server
	Server *redisserver.Server // nil on the engine
}

// Each runs a test on the engine and on every server, and afterwards holds the
// raw keyspace of each against the invariant.
func Each(t *testing.T, test func(t *testing.T, b *Backend), serverOptions ...string) {
	t.Helper()
	t.Run("engine", func(t *testing.T) { OnEngine(t, test) })
	OnServers(t, test, serverOptions...)
}

// OnEngine is Each on the engine alone: it has a clock that stands still and
// knows every command that a script calls.
func OnEngine(t *testing.T, test func(t *testing.T, b *Backend)) {
	t.Helper()
	engine := luatest.New()
	t.Cleanup(func() { engine.Close() })
	b := &Backend{Client: engine.Client().WithTimeout(patience), Engine: engine}
	t.Cleanup(func() { b.Client.Close() })
	test(t, b)
	b.CheckInvariant(t)
}

// OnServers is Each on the servers alone.
func OnServers(t *testing.T, test func(t *testing.T, b *Backend), options ...string) {
	t.Helper()
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: patience, WriteTimeout: patience})
		t.Cleanup(func() { client.Close() })
		b := &Backend{Client: client, Server: server}
		test(t, b)
		b.CheckInvariant(t)
	}, options...)
}

// Cache returns a Cache of the client. Unless options say otherwise, its
// namespace is "test" and its TTL is an hour.
func Cache(t testing.TB, client wildkey.Client, options wildkey.Options) *wildkey.Cache {
	t.Helper()
	if options.Namespace == "" {
		options.Namespace = "test"
	}
	if options.TTL == 0 {
		options.TTL = time.Hour
	}
	cache, err := wildkey.New(client, options)
	Must(t, err)
	return cache
}

// Cache returns a Cache of this server, as the function Cache does.
func (b *Backend) Cache(t testing.TB, options wildkey.Options) *wildkey.Cache {
	t.Helper()
	return Cache(t, b.Client, options)
}

// Tag returns the hash tag of the shard in which a key lies.
func Tag(cache *wildkey.Cache, key wildkey.Key) string {
	return cache.Layout().Tag(cache.Layout().Shard(key))
}

// Warm has the cache load its scripts and find out whether the server has
// EVALSHA_RO, which both cost round trips, before a test counts them.
func Warm(t testing.TB, cache *wildkey.Cache) {
	t.Helper()
	Must(t, cache.Load(ctx))
	_, err := cache.Count(ctx, wildkey.MustParsePattern("none:none:none"))
	Must(t, err)
}

// Pass lets so much of the server's time go by.
func (b *Backend) Pass(d time.Duration) {
	if b.Engine != nil {
		b.Engine.Advance(d)
		return
	}
	time.Sleep(d)
}

// LimitMemory sets maxmemory; "1" makes the server full, "0" lifts the limit.
func (b *Backend) LimitMemory(t testing.TB, maxmemory string) {
	t.Helper()
	Must(t, b.Client.ConfigSet(ctx, "maxmemory", maxmemory).Err())
}

// Do runs one command and returns its reply, a string for any text.
func (b *Backend) Do(t testing.TB, args ...any) any {
	t.Helper()
	reply, err := b.Client.Do(ctx, args...).Result()
	if err != nil && err != redis.Nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// Members returns the encoded keys in the index of the namespace "test".
func (b *Backend) Members(t testing.TB) []string {
	t.Helper()
	members, err := b.Client.ZRange(ctx, "{test}/keys", 0, -1).Result()
	Must(t, err)
	return members
}

// ScriptCalls lists the calls that scripts made on the engine since its trace
// was reset: each command with the rest of its first key behind the tag "{test}".
func (b *Backend) ScriptCalls() string {
	var calls []string
	for _, call := range b.Engine.Trace() {
		if call.Script == "" {
			continue
		}
		text := call.Args[0]
		if keys := call.Keys(); len(keys) > 0 {
			text += " " + keys[0][len("{test}/"):]
		}
		calls = append(calls, text)
	}
	return strings.Join(calls, ", ")
}

// CheckInvariant reports each breach of the data model in the raw keyspace.
func (b *Backend) CheckInvariant(t testing.TB) {
	t.Helper()
	for _, breach := range Breaches(t, b.Client) {
		t.Error(breach)
	}
}

// Breaches are those of the data model in the raw keyspace of a server.
func Breaches(t testing.TB, client *redis.Client) []string {
	t.Helper()
	report, err := invariant.Check(ctx, client)
	Must(t, err)
	return report.Breaches
}

// ExpiresAt returns the millisecond at which a key expires, as PEXPIRETIME has
// it: -1 for never, -2 for no such key. Servers before Redis 7.0 lack that
// command; there the time left and the clock give it to within slack.
func ExpiresAt(t testing.TB, client *redis.Client, name string) (ms int64, slack float64) {
	t.Helper()
	ms, err := client.Do(ctx, "PEXPIRETIME", name).Int64()
	if err == nil {
		return ms, 0
	}
	const fromTimeLeft = `local left, now = redis.call('PTTL', KEYS[1]), redis.call('TIME')
		return left < 0 and left or string.format('%.0f', left + now[1] * 1000 + math.floor(now[2] / 1000))`
	ms, err = client.Eval(ctx, fromTimeLeft, []string{name}).Int64()
	Must(t, err)
	return ms, 5
}

// LacksReadOnlyScripts is true of a Redis before 7.0, which has no EVALSHA_RO.
// There a Cache, and so a test of it, makes do with EVALSHA.
func (b *Backend) LacksReadOnlyScripts() bool {
	return b.Server != nil && b.Server.Program.Before(7, 0)
}

// Rec returns a record that leaves its TTL to the Cache.
func Rec(key wildkey.Key, value string) wildkey.Record {
	return wildkey.Record{Key: key, Value: []byte(value)}
}

// Source yields the items, as a source of PutEach that does not fail.
func Source[T any](items ...T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// Entries writes entries as "key=value", so that tests can list those that they expect.
func Entries(found []wildkey.Entry) []string {
	texts := []string{}
	for _, entry := range found {
		texts = append(texts, entry.Key.String()+"="+string(entry.Value))
	}
	return texts
}

// WantAll expects a pattern to find the entries that Entries writes so, and no other.
func WantAll(t testing.TB, cache *wildkey.Cache, pattern string, want ...string) {
	t.Helper()
	all, err := cache.Collect(ctx, wildkey.MustParsePattern(pattern))
	Must(t, err)
	if got := Entries(all); !slices.Equal(got, want) {
		t.Errorf("%s finds %.200q, not %.200q", pattern, got, want)
	}
}

// Must ends the test with the error, if there is one.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Running reports whether a goroutine is in one of these functions, or was started
// by it.
func Running(functions ...string) bool {
	all := make([]byte, 1<<22)
	stacks := string(all[:runtime.Stack(all, true)])
	return slices.ContainsFunc(functions, func(function string) bool { return strings.Contains(stacks, function) })
}

// NoneRunning waits until no goroutine is in these functions: who waits for one goes
// on when it is about to end.
func NoneRunning(t testing.TB, functions ...string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("an end of the goroutines in %q", functions), func() bool { return !Running(functions...) })
}

// Eventually waits until a condition holds, and fails after a minute.
func Eventually(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute has passed without %s", condition)
		}
	}
}
