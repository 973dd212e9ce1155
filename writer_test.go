package wildkey_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// gate holds up scripts that write until it is opened, and lists them.
type gate struct {
	entered chan struct{} // receives once a script has come to the gate
	open    chan struct{}

	mu    sync.Mutex
	calls []string // "put 3": a call of put.lua with three records
}

func newGate(client *redis.Client) *gate {
	g := &gate{entered: make(chan struct{}, 1000), open: make(chan struct{})}
	names := map[any]string{}
	for _, script := range wildkey.Scripts() {
		names[script.SHA1] = script.Name
	}
	client.AddHook(hookBefore(func(cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" || names[cmd.Args()[1]] == "match" { // so Redis 6.2 runs it
			return nil
		}
		g.entered <- struct{}{}
		<-g.open
		g.mu.Lock()
		defer g.mu.Unlock()
		g.calls = append(g.calls, fmt.Sprintf("%s %d", names[cmd.Args()[1]], cmd.Args()[2].(int)-2))
		return nil
	}))
	return g
}

func TestWriterKeepsOrderAndMerges(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 4})
		must(t, cache.Load(ctx))
		g := newGate(b.client)
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		key := func(n int) wildkey.Key { return wildkey.K("k", n) }

		must(t, w.Put(ctx, rec(key(0), "first")))
		<-g.entered // the first is under way; the others queue behind it
		must(t, w.Put(ctx, rec(key(1), "second")))
		must(t, w.Put(ctx, rec(key(2), "a"), rec(key(3), "a")))
		must(t, w.Put(ctx, rec(key(2), "b")))
		must(t, w.Put(ctx, rec(key(4), "x"), rec(key(5), "x"))) // a fifth and sixth record
		must(t, w.Delete(ctx, key(4)))
		must(t, w.Delete(ctx, key(5)))
		must(t, w.Put(ctx, wildkey.Record{Key: key(4), Value: []byte("again"), If: wildkey.Absent}))
		must(t, w.Put(ctx, rec(key(5), "last")))
		close(g.open)
		must(t, w.Flush(ctx))

		got, err := cache.All(ctx, wildkey.MustParsePattern("**"))
		must(t, err)
		if diff := cmp.Diff([]string{"k:0=first", "k:1=second", "k:2=b", "k:3=a", "k:4=again", "k:5=last"}, entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff("put 1, put 4, put 2, delete 2, put 1, put 1", strings.Join(g.calls, ", ")); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		must(t, w.Close())
	})
}

func TestWriterReportsErrorsWithTheirRecords(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		must(t, cache.Put(ctx, rec(wildkey.K("there"), "old")))
		type failure struct {
			err     error
			records []wildkey.Record
			keys    []wildkey.Key
		}
		var failures []failure
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{OnError: func(err error, records []wildkey.Record, keys []wildkey.Key) {
			failures = append(failures, failure{err, records, keys})
		}})
		must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("there"), Value: []byte("new"), If: wildkey.Absent}))
		must(t, w.Put(ctx, rec(wildkey.K("fine"), "v")))
		must(t, w.Flush(ctx))
		if len(failures) != 1 || !errors.Is(failures[0].err, wildkey.ErrCondition) ||
			len(failures[0].records) != 1 || failures[0].records[0].Key.String() != "there" || failures[0].keys != nil {
			t.Errorf("after a failed condition: %+v", failures)
		}
		if value, err := cache.Get(ctx, wildkey.K("fine")); string(value) != "v" || err != nil {
			t.Errorf("the put behind the failed one: %q, %v", value, err)
		}

		b.limitMemory(t, "1")
		must(t, w.Put(ctx, rec(wildkey.K("more"), "v")))
		must(t, w.Flush(ctx))
		b.limitMemory(t, "0")
		if len(failures) != 2 || !redis.IsOOMError(failures[1].err) || failures[1].records[0].Key.String() != "more" {
			t.Errorf("after a full server: %+v", failures)
		}

		b.do(t, "DEL", "{test}/keys")
		b.do(t, "SET", "{test}/keys", "foreign")
		must(t, w.Delete(ctx, wildkey.K("fine")))
		must(t, w.Close())
		if len(failures) != 3 || !redis.HasErrorPrefix(failures[2].err, "WRONGTYPE") || failures[2].keys[0].String() != "fine" {
			t.Errorf("after a failed delete: %+v", failures)
		}
	})
}

func TestWriterWithoutOnError(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{})
		must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present}))
		if err := w.Flush(ctx); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Flush: %v, want the error of the put", err)
		}
		if err := w.Flush(ctx); err != nil {
			t.Errorf("Flush again: %v", err)
		}
		must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present}))
		if err := w.Close(); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Close: %v, want the error of the put", err)
		}
	})
}

func TestWriterRefusesBadArgumentsAtOnce(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		w := wildkey.NewWriter(b.cache(t, wildkey.Options{}), wildkey.WriterOptions{})
		if err := w.Put(ctx, rec(wildkey.K(""), "v")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Put: %v", err)
		}
		if err := w.Delete(ctx, wildkey.K("a", "")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Delete: %v", err)
		}
		must(t, w.Close())
		must(t, w.Close())
		if err := w.Put(ctx, rec(wildkey.K("a"), "v")); err != wildkey.ErrClosed {
			t.Errorf("Put after Close: %v", err)
		}
		if err := w.Flush(ctx); err != wildkey.ErrClosed {
			t.Errorf("Flush after Close: %v", err)
		}
	})
}

func TestWriterHoldsBackWhenTheQueueIsFull(t *testing.T) {
	onEngine(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{})
		g := newGate(b.client)
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{Queue: 2})
		must(t, w.Put(ctx, rec(wildkey.K("a"), "v")))
		<-g.entered
		must(t, w.Put(ctx, rec(wildkey.K("b"), "v")))
		must(t, w.Put(ctx, rec(wildkey.K("c"), "v")))
		full, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := w.Put(full, rec(wildkey.K("d"), "v")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a fourth Put, with one under way and two queued: %v", err)
		}
		if err := w.Flush(full); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush: %v", err)
		}
		close(g.open)
		must(t, w.Close())
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("*")); n != 3 || err != nil {
			t.Errorf("Count: %d, %v, want the three that were queued", n, err)
		}
	})
}

func TestWriterUnderConcurrentUse(t *testing.T) {
	onBackends(t, func(t *testing.T, b *backend) {
		cache := b.cache(t, wildkey.Options{MaxRecords: 16})
		w := wildkey.NewWriter(cache, wildkey.WriterOptions{Queue: 8})
		var group sync.WaitGroup
		for caller := range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for n := range 50 {
					key := wildkey.K("caller", caller, n%5)
					if err := w.Put(ctx, rec(key, fmt.Sprint(n))); err != nil {
						t.Error(err)
					}
					if n%7 == 0 {
						if err := w.Delete(ctx, wildkey.K("caller", caller, 9), key); err != nil {
							t.Error(err)
						}
					}
				}
			}()
		}
		group.Wait()
		must(t, w.Close())
		// Of each caller, in its own order: the last five puts, but 49 was deleted.
		for caller := range 8 {
			got, err := cache.All(ctx, wildkey.Under(wildkey.K("caller", caller)))
			must(t, err)
			prefix := fmt.Sprintf("caller:%d:", caller)
			want := []string{prefix + "0=45", prefix + "1=46", prefix + "2=47", prefix + "3=48"}
			if diff := cmp.Diff(want, entries(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		}
		// Close returns when the worker is about to end: let it.
		var stacks string
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
			all := make([]byte, 1<<20)
			if stacks = string(all[:runtime.Stack(all, true)]); !strings.Contains(stacks, "(*Writer)") {
				return
			}
		}
		t.Errorf("a goroutine is left after Close:\n%s", stacks)
	})
}
