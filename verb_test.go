package wildkey_test

import (
	"context"
	"fmt"
	"log"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/luatest"
)

// verbs remembers with which verb each command came.
type verbs struct {
	mu   sync.Mutex
	seen []string
}

func (v *verbs) DialHook(next redis.DialHook) redis.DialHook { return next }

func (v *verbs) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (v *verbs) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		v.mu.Lock()
		v.seen = append(v.seen, wildkey.VerbOf(ctx))
		v.mu.Unlock()
		return next(ctx, cmd)
	}
}

// TestVerbOf names the method of Cache that the caller has called, for each method
// that takes a context.
func TestVerbOf(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		hook := new(verbs)
		b.Client.AddHook(hook)
		cache := b.Cache(t, wildkey.Options{Shards: 7})
		key, pattern := wildkey.K("a"), wildkey.MustParsePattern("**")
		keys, records := backend.Source(key, wildkey.K("b")), backend.Source(backend.Rec(key, "v"), backend.Rec(wildkey.K("b"), "v"))
		arguments := map[string][]any{
			"Apply": {wildkey.OpDelete(key)}, "Collect": {pattern}, "Count": {pattern}, "Delete": {key},
			"DeleteEach": {keys, (func(wildkey.Key, error))(nil)}, "DeleteMatch": {pattern}, "Get": {key}, "GetMany": {key},
			"GetTouch": {time.Hour, key}, "Estimate": {pattern}, "List": {wildkey.MustParsePattern("*")}, "Load": {}, "Match": {pattern}, "MatchKeys": {pattern},
			"Page": {pattern, wildkey.PageOptions{}}, "Put": {backend.Rec(key, "v")},
			"PutEach": {records, (func(wildkey.Record, error))(nil)}, "Sweep": {}, "TTL": {key}, "Take": {key},
			"Touch": {time.Hour, key}, "TouchEach": {time.Hour, keys, (func(wildkey.Key, error))(nil)},
			"TouchMatch": {time.Hour, pattern},
		}
		methods := reflect.TypeOf(cache)
		for i := range methods.NumMethod() {
			method := methods.Method(i)
			takesContext := method.Type.NumIn() > 1 && method.Type.In(1) == reflect.TypeFor[context.Context]()
			given, ok := arguments[method.Name]
			if ok != takesContext {
				t.Errorf("%s takes a context: %t, and is tried: %t", method.Name, takesContext, ok)
			}
			if !ok {
				continue
			}
			in := []reflect.Value{reflect.ValueOf(cache), reflect.ValueOf(ctx)}
			for _, argument := range given {
				in = append(in, reflect.ValueOf(argument))
			}
			hook.seen = nil
			out := method.Func.Call(in)
			if strings.HasPrefix(out[0].Type().String(), "iter.") {
				for range out[0].Seq2() {
					break
				}
			}
			if len(hook.seen) == 0 || slices.ContainsFunc(hook.seen, func(verb string) bool { return verb != method.Name }) {
				t.Errorf("the commands of %s came with %q", method.Name, hook.seen)
			}
		}
		if verb := wildkey.VerbOf(ctx); verb != "" {
			t.Errorf("the caller's context has the verb %q", verb)
		}
	})
}

// byVerb is a go-redis hook that counts calls and adds up their time by verb.
type byVerb struct {
	mu    sync.Mutex
	calls map[string]int
	time  map[string]time.Duration
}

func (m *byVerb) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *byVerb) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next // a Cache sends no pipeline
}

func (m *byVerb) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		started := time.Now()
		err := next(ctx, cmd)
		m.mu.Lock()
		defer m.mu.Unlock()
		if verb := wildkey.VerbOf(ctx); verb != "" {
			m.calls[verb]++
			m.time[verb] += time.Since(started)
		}
		return err
	}
}

// A hook of the client counts calls by verb. It needs no key and no value.
func ExampleVerbOf() {
	ctx := context.Background()
	client := luatest.New().Client()
	metrics := &byVerb{calls: map[string]int{}, time: map[string]time.Duration{}}
	client.AddHook(metrics)
	cache, err := wildkey.New(client, wildkey.Options{Namespace: "app", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Load(ctx); err != nil {
		log.Fatal(err)
	}
	for n := range 3 {
		if err := cache.Put(ctx, wildkey.Record{Key: wildkey.K("user", n), Value: []byte("v")}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(cache.DeleteMatch(ctx, wildkey.MustParsePattern("user:*"))) // it finds, and then deletes
	fmt.Println(metrics.calls["Put"], metrics.calls["DeleteMatch"])
	// Output:
	// 3 <nil>
	// 3 2
}
