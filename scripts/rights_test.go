package scripts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
)

// TestAuditByHand holds what the page says of users who write past the scripts.
func TestAuditByHand(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Namespace: "app"})
		key := wildkey.K("a")
		finds := func(t *testing.T, want ...string) {
			t.Helper()
			backend.WantAll(t, cache, "**", want...)
		}
		counts := func(t *testing.T, pattern string, want int) {
			t.Helper()
			if n, err := cache.Count(ctx, wildkey.MustParsePattern(pattern)); n != want || err != nil {
				t.Errorf("Count of %s: %d, %v, want %d", pattern, n, err, want)
			}
		}
		reindex := func(t *testing.T) { backend.Must(t, errorOf(admin.Reindex(ctx, b.Client, cache.Layout()))) }
		for name, test := range map[string]func(t *testing.T){
			"SET of a record": func(t *testing.T) {
				b.Do(t, "SET", "{app}:hand", "h")
				if value, err := cache.Get(ctx, wildkey.K("hand")); string(value) != "h" || err != nil {
					t.Errorf("Get: %q, %v", value, err)
				}
				finds(t, "a=v")
				reindex(t)
				finds(t, "a=v", "hand=h")
			},
			"DEL of a record": func(t *testing.T) {
				b.Do(t, "DEL", "{app}:a")
				if entries := b.Do(t, "ZCARD", "{app}/keys"); entries != int64(1) {
					t.Errorf("%d entries", entries)
				}
				finds(t)
			},
			"DEL of a record that is being loaded": func(t *testing.T) {
				fetcher, err := fetch.New(cache, fetch.Options{})
				backend.Must(t, err)
				load := func(key wildkey.Key, meanwhile func()) {
					t.Helper()
					_, err := fetcher.Get(ctx, key, func(context.Context) (fetch.Loaded, error) {
						meanwhile()
						return fetch.Loaded{Value: []byte("old")}, nil
					})
					backend.Must(t, err)
				}
				load(wildkey.K("b"), func() { b.Do(t, "DEL", "{app}:b") })
				load(wildkey.K("c"), func() { backend.Must(t, errorOf(fetcher.Delete(ctx, wildkey.K("c")))) })
				finds(t, "a=v", "b=old")
			},
			"a hash in the place of a record": func(t *testing.T) {
				b.Do(t, "HSET", "{app}:hash", "field", "v")
				b.Do(t, "ZADD", "{app}/keys", 0, "hash")
				if _, err := cache.Get(ctx, wildkey.K("hash")); !redis.HasErrorPrefix(err, "WRONGTYPE") {
					t.Errorf("Get: %v", err)
				}
				finds(t, "a=v")
				counts(t, "**", 2)
				if n, err := cache.DeleteMatch(ctx, wildkey.MustParsePattern("hash")); n != 1 || err != nil {
					t.Errorf("DeleteMatch: %d, %v", n, err)
				}
			},
			"ZREM and DEL of the index": func(t *testing.T) {
				for _, command := range [][]any{{"ZREM", "{app}/keys", "a"}, {"DEL", "{app}/keys"}} {
					b.Do(t, command...)
					finds(t)
					reindex(t)
					finds(t, "a=v")
				}
			},
			"another type for the index": func(t *testing.T) {
				b.Do(t, "DEL", "{app}/keys")
				b.Do(t, "SET", "{app}/keys", "")
				_, err := cache.Count(ctx, everything)
				for _, err := range []error{err, cache.Put(ctx, backend.Rec(key, "w"))} {
					if !redis.HasErrorPrefix(err, "WRONGTYPE") {
						t.Errorf("%v", err)
					}
				}
				b.Do(t, "RENAME", "{app}/keys", "away")
				reindex(t)
				finds(t, "a=v")
			},
			"another score": func(t *testing.T) {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("b"), "v")))
				b.Do(t, "ZADD", "{app}/keys", -1, "b")
				counts(t, "b", 0)
				reindex(t)
				counts(t, "b", 1)
			},
			"hostile members": func(t *testing.T) {
				b.Do(t, "SET", "{other}:secret", "s")
				b.Do(t, "SET", "{app}:no key", "v")
				b.Do(t, "ZADD", "{app}/keys", 0, "{other}:secret", 0, "no key", 0, "", 0, "}:..%2", 0, strings.Repeat("y", 1e6))
				finds(t, "a=v")
				if members := b.Client.ZRange(ctx, "{app}/keys", 0, -1).Val(); strings.Join(members, ",") != "a,no key" {
					t.Errorf("%.1000q are left", members)
				}
				if n, err := cache.DeleteMatch(ctx, everything); n != 1 || err != nil {
					t.Errorf("DeleteMatch: %d, %v", n, err)
				}
				if left := b.Client.Exists(ctx, "{other}:secret", "{app}:no key").Val(); left != 2 {
					t.Errorf("%d are left of what is none of the cache's", left)
				}
			},
			"SCRIPT FLUSH": func(t *testing.T) {
				preloaded := b.Cache(t, wildkey.Options{Namespace: "app", Preloaded: true})
				b.Do(t, "SCRIPT", "FLUSH")
				if err := preloaded.Put(ctx, backend.Rec(key, "w")); !errors.Is(err, wildkey.ErrScriptMissing) {
					t.Errorf("Put of a program in locked mode: %v", err)
				}
				finds(t, "a=v")
				backend.Must(t, cache.Put(ctx, backend.Rec(key, "w")))
				finds(t, "a=w")
			},
		} {
			t.Run(name, func(t *testing.T) {
				b.Do(t, "FLUSHALL")
				backend.Must(t, cache.Put(ctx, backend.Rec(key, "v")))
				test(t)
			})
		}
		b.Do(t, "FLUSHALL")
	})
}

// TestAuditNarrowUser holds what the page says of users who may write some records of a
// namespace, or none.
func TestAuditNarrowUser(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Namespace: "app"})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("admin", 1), "v"), backend.Rec(wildkey.K("user", 1), "v")))
		line := replaced(t, lineOnPage(t, "app"), "~{app}:*", "~{app}:user:*")
		if b.LacksReadOnlyScripts() {
			line = replaced(t, line, "+evalsha_ro")
		}
		client := user(t, b, "narrow", line...)
		narrow := backend.Cache(t, client, wildkey.Options{Namespace: "app"})
		backend.WantAll(t, narrow, "user:**", "user:1=v")
		if names := client.Do(ctx, "ZRANGEBYLEX", "{app}/keys", "-", "+").Val(); fmt.Sprint(names) != "[admin:1 user:1]" {
			t.Errorf("the names that the user sees are %v", names)
		}
		_, get := narrow.Get(ctx, wildkey.K("admin", 1))
		_, collect := narrow.Collect(ctx, everything)
		for name, err := range map[string]error{"Get": get, "Collect": collect} {
			if err == nil || !denied.MatchString(corpus.FormatReply(errors.Unwrap(err))) {
				t.Errorf("%s of what the user may not see: %v", name, err)
			}
		}
		if n, err := client.ZRem(ctx, "{app}/keys", "admin:1").Result(); n != 1 || err != nil {
			t.Errorf("ZREM: %d, %v", n, err)
		}
		backend.WantAll(t, cache, "**", "user:1=v")
		backend.Must(t, errorOf(admin.Reindex(ctx, b.Client, cache.Layout())))
		if b.LacksReadOnlyScripts() {
			return
		}
		writing, err := b.Client.ScriptLoad(ctx, "return redis.call('SET', KEYS[1], 'x')").Result()
		backend.Must(t, err)
		reader := user(t, b, "reader", append(lineOnPage(t, "reader"), "+set")...)
		if err := reader.EvalShaRO(ctx, writing, []string{"{app}:user:1"}).Err(); err == nil {
			t.Error("EVALSHA_RO writes")
		}
		backend.WantAll(t, cache, "user:**", "user:1=v")
	})
}
