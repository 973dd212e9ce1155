package wildkey_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// backend is a server that one test has to itself: the engine of luatest, or
// a process of a Redis or Valkey.
type backend struct {
	client *redis.Client
	engine *luatest.Engine     // nil on a server
	server *redisserver.Server // nil on the engine
}

// onBackends runs a test on the engine and on every server, and afterwards
// holds the raw keyspace of each against the invariant.
func onBackends(t *testing.T, test func(t *testing.T, b *backend), serverOptions ...string) {
	t.Helper()
	t.Run("engine", func(t *testing.T) { onEngine(t, test) })
	onServers(t, test, serverOptions...)
}

func onEngine(t *testing.T, test func(t *testing.T, b *backend)) {
	t.Helper()
	engine := luatest.New()
	t.Cleanup(func() { engine.Close() })
	b := &backend{client: engine.Client(), engine: engine}
	t.Cleanup(func() { b.client.Close() })
	test(t, b)
	b.checkInvariant(t)
}

func onServers(t *testing.T, test func(t *testing.T, b *backend), options ...string) {
	t.Helper()
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		b := &backend{client: server.Client(t), server: server}
		test(t, b)
		b.checkInvariant(t)
	}, options...)
}

func (b *backend) cache(t testing.TB, options wildkey.Options) *wildkey.Cache {
	t.Helper()
	if options.Namespace == "" {
		options.Namespace = "test"
	}
	if options.TTL == 0 {
		options.TTL = time.Hour
	}
	cache, err := wildkey.New(b.client, options)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// pass lets so much of the server's time go by.
func (b *backend) pass(d time.Duration) {
	if b.engine != nil {
		b.engine.Advance(d)
		return
	}
	time.Sleep(d)
}

// limitMemory sets maxmemory; "1" makes the server full, "0" lifts the limit.
func (b *backend) limitMemory(t testing.TB, maxmemory string) {
	t.Helper()
	if err := b.client.ConfigSet(ctx, "maxmemory", maxmemory).Err(); err != nil {
		t.Fatal(err)
	}
}

// do runs one command and returns its reply, a string for any text.
func (b *backend) do(t testing.TB, args ...any) any {
	t.Helper()
	reply, err := b.client.Do(ctx, args...).Result()
	if err != nil && err != redis.Nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// members returns the encoded keys that an index of the namespace "test" holds.
func (b *backend) members(t testing.TB, index string) []string {
	t.Helper()
	members, err := b.client.ZRange(ctx, "{test}/"+index, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return members
}

// checkInvariant holds the raw keyspace against the data model: every live
// record is in the order index, every record with a TTL is in the expiry index
// with the millisecond at which Redis expires it, and no other record is there.
func (b *backend) checkInvariant(t testing.TB) {
	t.Helper()
	for _, breach := range invariantBreaches(t, b.client) {
		t.Error(breach)
	}
}

func invariantBreaches(t testing.TB, client *redis.Client) []string {
	t.Helper()
	report, err := invariant.Check(ctx, client)
	must(t, err)
	return report.Breaches
}

// expiresAt returns the millisecond at which a key expires, as PEXPIRETIME has
// it: -1 for never, -2 for no such key. Servers before Redis 7.0 lack that
// command; there the time left and the clock give it to within slack.
func expiresAt(t testing.TB, client *redis.Client, name string) (ms int64, slack float64) {
	t.Helper()
	ms, err := client.Do(ctx, "PEXPIRETIME", name).Int64()
	if err == nil {
		return ms, 0
	}
	const fromTimeLeft = `local left, now = redis.call('PTTL', KEYS[1]), redis.call('TIME')
		return left < 0 and left or string.format('%.0f', left + now[1] * 1000 + math.floor(now[2] / 1000))`
	ms, err = client.Eval(ctx, fromTimeLeft, []string{name}).Int64()
	must(t, err)
	return ms, 5
}

// lacksReadOnlyScripts is true of a Redis before 7.0, which has no EVALSHA_RO.
// There a Cache, and so a test of it, makes do with EVALSHA.
func lacksReadOnlyScripts(b *backend) bool {
	return b.server != nil && b.server.Program.Before(7, 0)
}

// settle has the cache find out whether the server has EVALSHA_RO, which costs
// one round trip, before a test counts them.
func settle(t testing.TB, cache *wildkey.Cache) {
	t.Helper()
	_, err := cache.Count(ctx, wildkey.MustParsePattern("settle"))
	must(t, err)
}

var ctx = context.Background()

func rec(key wildkey.Key, value string) wildkey.Record {
	return wildkey.Record{Key: key, Value: []byte(value)}
}

// entries writes entries as "key=value", so that tests can list what they expect.
func entries(found []wildkey.Entry) []string {
	texts := []string{}
	for _, entry := range found {
		texts = append(texts, entry.Key.String()+"="+string(entry.Value))
	}
	return texts
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
