// Package miniredis runs a Cache on miniredis, with which many services are tested.
// It is a module of its own, so that nobody else needs miniredis.
package miniredis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/luatest"
)

var ctx = context.Background()

// side is a Cache, and how to let time pass for it.
type side struct {
	cache *wildkey.Cache
	pass  func(time.Duration)
}

// TestCacheOnMiniredis does the same on miniredis and on luatest, which is held
// against servers, and expects the same of both.
func TestCacheOnMiniredis(t *testing.T) {
	for _, shards := range []int{1, 7} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			server, engine := miniredis.RunT(t), luatest.New()
			client := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer client.Close()
			options := wildkey.Options{Namespace: "app", TTL: time.Hour, Shards: shards, PageLimit: 7}
			var sides []side
			for client, pass := range map[wildkey.Client]func(time.Duration){
				client: server.FastForward, engine.Client(): engine.Advance,
			} {
				cache, err := wildkey.New(client, options)
				if err != nil {
					t.Fatal(err)
				}
				sides = append(sides, side{cache, pass})
			}
			seed := uint64(time.Now().UnixNano())
			for n := range uint64(2_000) {
				name, outcomes := "", [2]string{}
				for i, s := range sides {
					name, outcomes[i] = step(s, rand.New(rand.NewPCG(seed, n)))
				}
				if diff := cmp.Diff(outcomes[0], outcomes[1]); diff != "" {
					t.Fatalf("seed %d, step %d: %s differs\n%s", seed, n, name, diff)
				}
			}
			n, err := sides[0].cache.Count(ctx, wildkey.MustParsePattern("**"))
			if n == 0 || err != nil {
				t.Errorf("nothing is left to find: %d, %v", n, err)
			}
			if err := client.Del(ctx, sides[0].cache.Layout().Index(0)).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := admin.Reindex(ctx, client, sides[0].cache.Layout()); err != nil {
				t.Errorf("Reindex: %v", err)
			}
		})
	}
}

// step does something at random, and returns what came of it as text.
func step(s side, random *rand.Rand) (name, outcome string) {
	user := func() wildkey.Key { return wildkey.K("user", random.IntN(9)) }
	key := func() wildkey.Key { return user().Child("session", random.IntN(5)) }
	record := func(key wildkey.Key) wildkey.Record {
		ttl := []time.Duration{0, time.Minute, wildkey.NoExpiry, wildkey.KeepTTL}[random.IntN(4)]
		condition := []wildkey.Condition{{}, {}, wildkey.Absent(), wildkey.Present(), wildkey.Equal([]byte("3")),
			wildkey.EqualSHA1("77de68daecd823babbb58edb1c8e14d7106e83bb")}[random.IntN(6)] // of 3
		return wildkey.Record{Key: key, Value: []byte(fmt.Sprint(random.IntN(5))), TTL: ttl, If: condition}
	}
	pattern := wildkey.MustParsePattern([]string{
		"**", "user:*", "user:*:session:*", "user:3:**", "user:*:session:2", "user:*:session:**", "use*:5:**", "*:*:*:1",
	}[random.IntN(8)])
	one := user()
	steps := []struct {
		name string
		do   func() (any, error)
	}{
		{"Put", func() (any, error) { return nil, s.cache.Put(ctx, record(one), record(one.Child("session", 1))) }},
		{"Put", func() (any, error) { return nil, s.cache.Put(ctx, wildkey.Record{Key: key(), Value: []byte("new")}) }},
		{"Apply", func() (any, error) {
			return s.cache.Apply(ctx, wildkey.OpPut(record(one.Child("a"))), wildkey.OpDelete(one.Child("session", 2)),
				wildkey.OpTouch(one.Child("session", 3), 2*time.Hour), wildkey.OpCheck(one).If(wildkey.Present()))
		}},
		{"Get", func() (any, error) { return s.cache.Get(ctx, key()) }},
		{"GetMany", func() (any, error) { return s.cache.GetMany(ctx, key(), key(), user()) }},
		{"GetTouch", func() (any, error) { return s.cache.GetTouch(ctx, time.Hour, key()) }},
		{"TTL", func() (any, error) { return s.cache.TTL(ctx, key()) }},
		{"Delete", func() (any, error) { return s.cache.Delete(ctx, one.Child("session", 1), one.Child("session", 2)) }},
		{"Take", func() (any, error) { return s.cache.Take(ctx, key()) }},
		{"Touch", func() (any, error) { return s.cache.Touch(ctx, time.Minute, key()) }},
		{"Collect", func() (any, error) { return s.cache.Collect(ctx, pattern) }},
		{"Collect", func() (any, error) { return s.cache.Collect(ctx, pattern) }},
		{"Count", func() (any, error) { return s.cache.Count(ctx, pattern) }},
		{"Page", func() (any, error) { return s.cache.Page(ctx, pattern, wildkey.PageOptions{Limit: 3, WithTTL: true}) }},
		{"DeleteMatch", func() (any, error) {
			return s.cache.DeleteMatch(ctx, wildkey.Under(one))
		}},
		{"TouchMatch", func() (any, error) { return s.cache.TouchMatch(ctx, time.Hour, pattern) }},
		{"Sweep", func() (any, error) { _, err := s.cache.Sweep(ctx); return nil, err }},
		{"time passes", func() (any, error) { s.pass(7 * time.Second); return nil, nil }}, // no TTL ends just then
	}
	chosen := steps[random.IntN(len(steps))]
	result, err := chosen.do()
	var condition *wildkey.ConditionError
	switch {
	case errors.As(err, &condition), err == nil, errors.Is(err, wildkey.ErrNotFound):
	default:
		err = fmt.Errorf("an error that neither should return: %w", err)
	}
	text := fmt.Sprintf("%v, %v", result, err)
	if err != nil && strings.Contains(text, "neither") {
		return chosen.name, fmt.Sprint(text, time.Now().UnixNano()) // differs
	}
	return chosen.name, text
}
