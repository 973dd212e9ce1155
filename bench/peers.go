package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	gocachestore "github.com/eko/gocache/lib/v4/store"
	gocache "github.com/eko/gocache/store/redis/v4"
	goredis "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/reference"
)

// Names of contenders, as tables have them.
const (
	nameWildkey    = "Wildkey"
	nameBefore     = "Wildkey, scripts from before"
	nameWritten    = "reference, as written"
	nameTuned      = "reference, tuned (ZSCAN COUNT 1000)"
	nameReference  = "reference"
	nameScan       = "SCAN MATCH (COUNT 1000) + MGET"
	nameUnlink     = "SCAN MATCH (COUNT 1000) + UNLINK"
	nameGoRedis    = "go-redis/cache v9"
	nameGocache    = "eko/gocache v4"
	nameTag        = "eko/gocache v4, with a tag"
	nameTags       = "eko/gocache v4, with two tags"
	nameAscending  = "Wildkey, ascending keys"
	nameSet        = "SET"
	nameSetZadd    = "SET + ZADD, a pipeline, not atomic"
	nameSetZadds   = "SET + 2 ZADD, a pipeline, not atomic"
	nameGet        = "GET"
	nameMget       = "MGET"
	nameUnder      = "Wildkey, user:**"
	nameDeclared   = "Wildkey, user:**, DeclaredKeys"
	nameKeys       = "MatchKeys of user:**"
	nameFilter     = "MatchKeys of user:**, filtered"
	nameNames      = "SCAN MATCH (COUNT 1000)"
	namePexpire    = "PEXPIRE, a pipeline, not atomic"
	nameUnlinkZrem = "UNLINK + ZREM, a pipeline, not atomic"

	nameFetch        = "Wildkey, fetch"
	nameAhead        = "Wildkey, fetch with RefreshAhead"
	nameUnleased     = "Wildkey, Get, load and Put"
	nameOnce         = "go-redis/cache v9, Once"
	nameSingleflight = "singleflight around GET, load and SET"
)

// Every record of every contender has this life.
const ttl = 24 * time.Hour

const namespace = "bench"

var layout = func() wildkey.Layout {
	layout, err := wildkey.NewLayout(namespace, 1, 1)
	if err != nil {
		panic(err)
	}
	return layout
}()

// redisName is the Redis key of a record of Wildkey. Peers that bring no
// naming of their own use it too.
func redisName(key wildkey.Key) string {
	name, err := layout.Record(key)
	if err != nil {
		panic(err)
	}
	return name
}

func redisNames(keys []wildkey.Key) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = redisName(key)
	}
	return names
}

func newCache(ctx context.Context, client wildkey.Client, namespace string) (*wildkey.Cache, error) {
	cache, err := wildkey.New(client, wildkey.Options{Namespace: namespace, TTL: ttl})
	if err != nil {
		return nil, err
	}
	return cache, cache.Load(ctx)
}

// subject is Wildkey with one version of its scripts, on a server of its own.
type subject struct {
	name   string
	server *server
	cache  *wildkey.Cache
}

// subjects starts Wildkey and, with -before, Wildkey with the scripts from there.
func (b *bench) subjects(ctx context.Context, namespace string) (subjects []subject, err error) {
	names := []string{nameWildkey}
	if b.before != "" {
		names = append(names, nameBefore)
	}
	for _, name := range names {
		s, err := b.server()
		if err != nil {
			return nil, err
		}
		var client wildkey.Client = s.client
		if name == nameBefore {
			if client, err = newOtherScripts(s.client, b.before); err != nil {
				return nil, err
			}
		}
		cache, err := newCache(ctx, client, namespace)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject{name, s, cache})
	}
	return subjects, nil
}

// contenders have each subject do the same work.
func contenders(subjects []subject, work func(*wildkey.Cache) runner) (all []contender) {
	for _, s := range subjects {
		all = append(all, contender{name: s.name, server: s.server, run: work(s.cache)})
	}
	return all
}

// otherScripts is a client that calls the scripts of a directory in place of
// Wildkey's own of the same names.
type otherScripts struct {
	*redis.Client
	sources, digests map[string]string // theirs, by those of Wildkey's own
}

func newOtherScripts(client *redis.Client, dir string) (*otherScripts, error) {
	others := &otherScripts{client, map[string]string{}, map[string]string{}}
	for _, own := range wildkey.Scripts() {
		source, err := os.ReadFile(filepath.Join(dir, own.Name+".lua"))
		if err != nil {
			return nil, err
		}
		others.sources[own.Source] = string(source)
		others.digests[own.SHA1] = redis.NewScript(string(source)).Hash()
	}
	return others, nil
}

func (o *otherScripts) ScriptLoad(ctx context.Context, source string) *redis.StringCmd {
	return o.Client.ScriptLoad(ctx, o.sources[source])
}

func (o *otherScripts) EvalSha(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	return o.Client.EvalSha(ctx, o.digests[sha1], keys, args...)
}

func (o *otherScripts) EvalShaRO(ctx context.Context, sha1 string, keys []string, args ...any) *redis.Cmd {
	return o.Client.EvalShaRO(ctx, o.digests[sha1], keys, args...)
}

func newReference(s *server, namespace string) *reference.Store {
	return &reference.Store{Client: s.client, Namespace: namespace, Now: time.Now}
}

func newGoRedis(s *server) *goredis.Cache {
	return goredis.New(&goredis.Options{Redis: s.client})
}

func newGocache(s *server) *gocache.RedisStore {
	return gocache.NewRedis(s.client, gocachestore.WithExpiration(ttl))
}

// A putter writes a record for each key, in one call if it has one for it.
type putter func(ctx context.Context, keys []wildkey.Key) error

func putWildkey(cache *wildkey.Cache) putter { return putRecords(cache.Put) }

func putRecords(put func(context.Context, ...wildkey.Record) error) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		records := make([]wildkey.Record, len(keys))
		for i, key := range keys {
			records[i] = wildkey.Record{Key: key, Value: value}
		}
		return put(ctx, records...)
	}
}

func putReference(store *reference.Store) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		records := make([]reference.Record, len(keys))
		for i, key := range keys {
			records[i] = reference.Record{Key: []string(key), Value: string(value)}
		}
		return store.Put(ctx, ttl, records...)
	}
}

// fillReference leaves what putReference leaves, in fewer commands: for loads.
func fillReference(store *reference.Store) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		var commands [][]any
		members := map[any][]any{}
		for _, key := range keys {
			for _, command := range store.PutCommands(ttl, reference.Record{Key: []string(key), Value: string(value)}) {
				switch command[0] {
				case "SET":
					commands = append(commands, command)
				case "ZADD":
					members[command[1]] = append(members[command[1]], command[2:]...)
				}
			}
		}
		for index, members := range members {
			commands = append(commands, append([]any{"ZADD", index}, members...))
			commands = append(commands, []any{"PEXPIRE", index, ttl.Milliseconds()})
		}
		return store.Pipeline(ctx, commands)
	}
}

// setReference writes the reference's records alone, without its indexes.
func setReference(store *reference.Store) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		var commands [][]any
		for _, key := range keys {
			all := store.PutCommands(ttl, reference.Record{Key: []string(key), Value: string(value)})
			commands = append(commands, all[len(all)-1])
		}
		return store.Pipeline(ctx, commands)
	}
}

func putGoRedis(cache *goredis.Cache) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		for _, key := range keys {
			if err := cache.Set(&goredis.Item{Ctx: ctx, Key: redisName(key), Value: value, TTL: ttl}); err != nil {
				return err
			}
		}
		return nil
	}
}

// putGocache tags each record with its user, which is how gocache finds it again.
func putGocache(store *gocache.RedisStore) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		for _, key := range keys {
			if err := store.Set(ctx, redisName(key), value, gocachestore.WithTags([]string{key[1]})); err != nil {
				return err
			}
		}
		return nil
	}
}

func putSet(client *redis.Client) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		if len(keys) == 1 {
			return client.Set(ctx, redisName(keys[0]), value, ttl).Err()
		}
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				pipe.Set(ctx, redisName(key), value, ttl)
			}
			return nil
		})
		return err
	}
}

// putSetZadd keeps an index of all keys from the client, without a script, and
// another by expiry if it is to.
func putSetZadd(client *redis.Client, byExpiry bool) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				member := key.String()
				pipe.ZAdd(ctx, layout.Index(0), redis.Z{Member: member})
				if byExpiry {
					score := float64(time.Now().Add(ttl).UnixMilli())
					pipe.ZAdd(ctx, "{"+namespace+"}-by-expiry", redis.Z{Score: score, Member: member})
				}
				pipe.Set(ctx, redisName(key), value, ttl)
			}
			return nil
		})
		return err
	}
}

// scanBatches calls do with the names of all sessions, one batch for each SCAN
// that found any.
func scanBatches(ctx context.Context, client *redis.Client, do func(names []string) error) error {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var names []string
		var err error
		if names, cursor, err = client.Scan(ctx, cursor, layout.Tag(0)+":"+sessions, 1_000).Result(); err != nil {
			return err
		}
		if len(names) == 0 {
			continue
		}
		if err := do(names); err != nil {
			return err
		}
	}
	return nil
}
