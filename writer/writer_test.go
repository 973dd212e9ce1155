package writer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/writer"
)

var ctx = context.Background()

// gate holds up calls of put.lua until it is opened, and lists them.
type gate struct {
	entered chan struct{} // receives once a script has come to the gate
	open    chan struct{}

	mu    sync.Mutex
	calls []int // the records of each
}

func newGate(client *redis.Client) *gate {
	g := &gate{entered: make(chan struct{}, 1000), open: make(chan struct{})}
	put := wildkey.Scripts()[2].SHA1
	client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" || cmd.Args()[1] != put {
			return nil
		}
		g.entered <- struct{}{}
		<-g.open
		g.mu.Lock()
		defer g.mu.Unlock()
		g.calls = append(g.calls, cmd.Args()[2].(int)-1)
		return nil
	}))
	return g
}

func TestWriterKeepsOrderAndMerges(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 4})
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{})
		key := func(n int) wildkey.Key { return wildkey.K("k", n) }

		backend.Must(t, w.Put(ctx, backend.Rec(key(0), "first")))
		<-g.entered // the first is under way; the others queue behind it
		backend.Must(t, w.Put(ctx, backend.Rec(key(1), "second")))
		backend.Must(t, w.Put(ctx, backend.Rec(key(2), "a"), backend.Rec(key(3), "a")))
		backend.Must(t, w.Put(ctx, backend.Rec(key(2), "b")))
		backend.Must(t, w.Put(ctx, backend.Rec(key(4), "x"), backend.Rec(key(5), "x")))
		backend.Must(t, w.Delete(ctx, key(4)))
		backend.Must(t, w.Delete(ctx, key(5)))
		backend.Must(t, w.Apply(ctx, wildkey.OpTouch(key(0), wildkey.NoExpiry), wildkey.OpDelete(key(9))))
		backend.Must(t, w.Put(ctx, backend.Rec(key(6), "fifth")))
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: key(4), Value: []byte("again"), If: wildkey.Absent()}))
		backend.Must(t, w.Put(ctx, backend.Rec(key(5), "last")))
		close(g.open)
		backend.Must(t, w.Flush(ctx))

		got, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"k:0=first", "k:1=second", "k:2=b", "k:3=a", "k:4=again", "k:5=last", "k:6=fifth"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]int{1, 3, 3, 4, 1, 1, 1}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		backend.Must(t, w.Close())
	})
}

func TestWriterReportsErrorsWithTheirOperations(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("there"), "old")))
		var errs []error
		var failed []string
		w := writer.New(cache, writer.Options{OnError: func(err error, ops []wildkey.Op) {
			errs = append(errs, err)
			for _, op := range ops {
				failed = append(failed, op.Key().String())
			}
		}})
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("there"), Value: []byte("new"), If: wildkey.Absent()}))
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("fine"), "v")))
		backend.Must(t, w.Flush(ctx))
		if len(errs) != 1 || !errors.Is(errs[0], wildkey.ErrCondition) || !slices.Equal(failed, []string{"there"}) {
			t.Errorf("after a failed condition: %v, %v", errs, failed)
		}
		if value, err := cache.Get(ctx, wildkey.K("fine")); string(value) != "v" || err != nil {
			t.Errorf("the put behind the failed one: %q, %v", value, err)
		}

		errs, failed = nil, nil
		b.LimitMemory(t, "1")
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("more"), "v"), backend.Rec(wildkey.K("most"), "v")))
		backend.Must(t, w.Flush(ctx))
		backend.Must(t, w.Apply(ctx, wildkey.OpTouch(wildkey.K("there"), time.Hour)))
		backend.Must(t, w.Flush(ctx))
		b.LimitMemory(t, "0")
		if len(errs) != 1 || !redis.IsOOMError(errs[0]) || !slices.Equal(failed, []string{"more", "most"}) {
			t.Errorf("after a full server: %v, %v", errs, failed)
		}

		errs, failed = nil, nil
		b.Do(t, "SET", "{test}/keys", "foreign")
		backend.Must(t, w.Delete(ctx, wildkey.K("fine")))
		backend.Must(t, w.Close())
		if len(errs) != 1 || !redis.HasErrorPrefix(errs[0], "WRONGTYPE") || !slices.Equal(failed, []string{"fine"}) {
			t.Errorf("after a failed delete: %v, %v", errs, failed)
		}
	})
}

func TestWriterWithoutOnError(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		w := writer.New(cache, writer.Options{})
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present()}))
		if err := w.Flush(ctx); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Flush: %v, want the error of the put", err)
		}
		if err := w.Flush(ctx); err != nil {
			t.Errorf("Flush again: %v", err)
		}
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present()}))
		if err := w.Close(); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Close: %v, want the error of the put", err)
		}
	})
}

func TestWriterRefusesBadArgumentsAtOnce(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		w := writer.New(b.Cache(t, wildkey.Options{}), writer.Options{})
		if err := w.Put(ctx, backend.Rec(wildkey.K(""), "v")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Put: %v", err)
		}
		if err := w.Delete(ctx, wildkey.K("a", "")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Delete: %v", err)
		}
		if err := w.Apply(ctx, wildkey.OpTouch(wildkey.K("a"), 0)); !errors.Is(err, wildkey.ErrInvalidTTL) {
			t.Errorf("Apply: %v", err)
		}
		if err := w.Apply(ctx); err != nil {
			t.Errorf("Apply of nothing: %v", err)
		}
		backend.Must(t, w.Close())
		backend.Must(t, w.Close())
		if err := w.Put(ctx, backend.Rec(wildkey.K("a"), "v")); err != writer.ErrClosed {
			t.Errorf("Put after Close: %v", err)
		}
		if err := w.Flush(ctx); err != writer.ErrClosed {
			t.Errorf("Flush after Close: %v", err)
		}
	})
}

func TestWriterHoldsBackWhenTheQueueIsFull(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{Queue: 2})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("b"), "v")))
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("c"), "v")))
		full, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := w.Put(full, backend.Rec(wildkey.K("d"), "v")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a fourth Put, with one under way and two queued: %v", err)
		}
		if err := w.Flush(full); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush: %v", err)
		}
		close(g.open)
		backend.Must(t, w.Close())
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("*")); n != 3 || err != nil {
			t.Errorf("Count: %d, %v, want the three that were queued", n, err)
		}
	})
}

func TestWriterUnderConcurrentUse(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 16})
		w := writer.New(cache, writer.Options{Queue: 8})
		var group sync.WaitGroup
		for caller := range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for n := range 50 {
					key := wildkey.K("caller", caller, n%5)
					if err := w.Put(ctx, backend.Rec(key, fmt.Sprint(n))); err != nil {
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
		backend.Must(t, w.Close())
		// Of each caller, in its own order: the last five puts, but 49 was deleted.
		for caller := range 8 {
			got, err := cache.Collect(ctx, wildkey.Under(wildkey.K("caller", caller)))
			backend.Must(t, err)
			prefix := fmt.Sprintf("caller:%d:", caller)
			want := []string{prefix + "0=45", prefix + "1=46", prefix + "2=47", prefix + "3=48"}
			if diff := cmp.Diff(want, backend.Entries(got)); diff != "" {
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

// TestWriterOnShards: merging and order are those of each shard.
func TestWriterOnShards(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7, CallRecords: 3})
		backend.Must(t, cache.Load(ctx))
		a, c := func(n int) wildkey.Key { return wildkey.K("a", n) }, func(n int) wildkey.Key { return wildkey.K("c", n) }
		if a(0).Shard(7, 1) == c(0).Shard(7, 1) {
			t.Fatal("the two lie together")
		}
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(a(0), "first")))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(a(1), "1"))) // these go as one call for each shard
		backend.Must(t, w.Delete(ctx, c(9), c(8)))
		backend.Must(t, w.Put(ctx, backend.Rec(a(0), "second")))
		backend.Must(t, w.Delete(ctx, c(7)))
		backend.Must(t, w.Put(ctx, backend.Rec(a(2), "2")))
		backend.Must(t, w.Put(ctx, backend.Rec(c(7), "7"))) // the call is full: both shards are sent
		backend.Must(t, w.Put(ctx, backend.Rec(a(3), "3")))
		backend.Must(t, w.Put(ctx, backend.Rec(c(8), "8")))
		waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := w.Flush(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush behind a closed gate: %v", err)
		}
		backend.Must(t, w.Put(ctx, backend.Rec(a(4), "4"))) // behind the Flush that nobody awaits
		close(g.open)
		backend.Must(t, w.Flush(ctx))
		backend.Must(t, w.Close())
		backend.WantAll(t, cache, "**", "a:0=second", "a:1=1", "a:2=2", "a:3=3", "a:4=4", "c:7=7", "c:8=8")
		slices.Sort(g.calls[1:3])
		slices.Sort(g.calls[3:5])
		if diff := cmp.Diff([]int{1, 3, 3, 1, 2, 1}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
	})
}

func TestWriterKeepsTheFirstError(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("c"), "old"), backend.Rec(wildkey.K("changed"), "old")))
		b.Do(t, "HSET", "{test}:hash", "f", "v")
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{})
		failing := wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present()}
		failingOtherwise := wildkey.Record{Key: wildkey.K("hash"), If: wildkey.Equal(nil)}
		records, keys := []wildkey.Record{backend.Rec(wildkey.K("b"), "v")}, []wildkey.Key{wildkey.K("c")}
		backend.Must(t, w.Put(ctx, failing))
		<-g.entered
		backend.Must(t, w.Put(ctx, records...))
		backend.Must(t, w.Delete(ctx, keys...))
		backend.Must(t, w.Put(ctx, failingOtherwise))
		records[0], keys[0] = backend.Rec(wildkey.K("changed"), "v"), wildkey.K("changed")

		// A Flush that gives up leaves the error to the next.
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := w.Flush(short); !errors.Is(err, short.Err()) || err == nil {
			t.Errorf("Flush behind the gate: %v", err)
		}
		close(g.open)
		if err := w.Flush(ctx); !errors.Is(err, wildkey.ErrCondition) {
			t.Errorf("Flush after one that gave up: %v", err)
		}
		backend.Must(t, w.Close())
		b.Do(t, "DEL", "{test}:hash") // which no index knows
		got, err := cache.Collect(ctx, wildkey.MustParsePattern("**"))
		backend.Must(t, err)
		if diff := cmp.Diff([]string{"b=v", "changed=old"}, backend.Entries(got)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestWriterClosesWhileOthersWait: a Put on a full queue is let in or ends with
// its context, and one from OnError is refused, not waited for.
func TestWriterClosesWhileOthersWait(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		g := newGate(b.Client)
		var w *writer.Writer
		var late error
		closing := make(chan struct{})
		w = writer.New(b.Cache(t, wildkey.Options{}), writer.Options{Queue: 1,
			OnError: func(error, []wildkey.Op) {
				<-closing
				late = w.Put(ctx, backend.Rec(wildkey.K("retry"), "v"))
			}})
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present()}))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("b"), "v")))
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		if err := w.Put(short, backend.Rec(wildkey.K("c"), "v")); err == nil {
			t.Error("Put on a full queue: no error")
		}
		for { // until Close has begun
			if err := w.Put(short, backend.Rec(wildkey.K("c"), "v")); errors.Is(err, writer.ErrClosed) {
				break
			}
		}
		close(closing)
		close(g.open)
		backend.Must(t, <-closed)
		if !errors.Is(late, writer.ErrClosed) {
			t.Errorf("Put from OnError while closing: %v", late)
		}
	})
}

// TestWriterMergesWithinBounds: a Writer puts no more into a call than
// Options.CallBytes or one larger record.
func TestWriterMergesWithinBounds(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallBytes: 10_000})
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("first"), "v")))
		<-g.entered // while it is under way the others gather
		for n, size := range []int{3_000, 3_000, 3_000, 3_000, 50_000, 1, 1, 9_000, 900, 900} {
			backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k", n), strings.Repeat("v", size))))
		}
		close(g.open)
		backend.Must(t, w.Close())
		if diff := cmp.Diff([]int{1, 3, 1, 1, 4, 1}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
	})
}

// TestWriterSendsConditionsAlone, so that one that fails fails nothing else.
func TestWriterSendsConditionsAlone(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		var failed []string
		w := writer.New(cache, writer.Options{OnError: func(err error, ops []wildkey.Op) {
			for _, op := range ops {
				failed = append(failed, fmt.Sprint(op.Key(), errors.Is(err, wildkey.ErrCondition)))
			}
		}})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("first"), "v")))
		<-g.entered
		want := []string{"first=v"}
		for n, record := range []wildkey.Record{
			{If: wildkey.Present()}, {If: wildkey.Equal(nil)}, {If: wildkey.EqualSHA1(strings.Repeat("0", 40))}, {TTL: wildkey.KeepTTL},
		} {
			record.Key = wildkey.K("fails", n)
			backend.Must(t, w.Put(ctx, record))
			backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("fine", n), "v")))
			want = slices.Insert(want, n, fmt.Sprintf("fine:%d=v", n))
		}
		close(g.open)
		backend.Must(t, w.Close())
		if diff := cmp.Diff([]string{"fails:0 true", "fails:1 true", "fails:2 true", "fails:3 true"}, failed); diff != "" {
			t.Errorf("failures (-want +got)\n%s", diff)
		}
		backend.WantAll(t, cache, "**", want...)
	})
}

// TestWriterNamesNoKeyTwice in one call: calls that share a key are not merged, and
// one that has a key twice is refused at once, before it could fail others.
func TestWriterNamesNoKeyTwice(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache, a, c := b.Cache(t, wildkey.Options{}), wildkey.K("a"), wildkey.K("c")
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		w := writer.New(cache, writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("first"), "v")))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(a, "1")))
		for name, err := range map[string]error{
			"Put":    w.Put(ctx, backend.Rec(c, "1"), backend.Rec(c, "2")),
			"Delete": w.Delete(ctx, c, a, c),
			"Apply":  w.Apply(ctx, wildkey.OpPut(backend.Rec(c, "1")), wildkey.OpTouch(c, time.Hour)),
		} {
			if !errors.Is(err, wildkey.ErrBadArgument) || !strings.Contains(err.Error(), "c comes twice") {
				t.Errorf("%s of a key that comes twice: %v", name, err)
			}
		}
		backend.Must(t, w.Put(ctx, backend.Rec(c, "1")))
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("d"), "1"), backend.Rec(a, "2")))
		backend.Must(t, w.Delete(ctx, c))
		backend.Must(t, w.Delete(ctx, a))
		backend.Must(t, w.Put(ctx, backend.Rec(a, "3")))
		close(g.open)
		backend.Must(t, w.Close())
		if diff := cmp.Diff([]int{1, 2, 3, 1, 1}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		backend.WantAll(t, cache, "**", "a=3", "d=1", "first=v")
	})
}

// TestWriterRefusesTwoShards at once, as no call could write to both.
func TestWriterRefusesTwoShards(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		w := writer.New(b.Cache(t, wildkey.Options{Shards: 7}), writer.Options{})
		here, there := wildkey.K("a"), wildkey.K("c")
		if here.Shard(7, 1) == there.Shard(7, 1) {
			t.Fatal("the two keys lie together")
		}
		for name, err := range map[string]error{
			"Put":    w.Put(ctx, backend.Rec(here, "v"), backend.Rec(there, "v")),
			"Delete": w.Delete(ctx, here, there),
		} {
			if !errors.Is(err, wildkey.ErrCrossShard) || !strings.Contains(err.Error(), "{test#") {
				t.Errorf("%s: %v, want ErrCrossShard with the places", name, err)
			}
		}
		backend.Must(t, w.Close())
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("something was written: %d Redis keys", n)
		}
	})
}
