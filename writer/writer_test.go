package writer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
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

var (
	ctx        = context.Background()
	everything = wildkey.MustParsePattern("**")
)

// newWriter returns a Writer that leaves no goroutine when it is closed. Without
// OnError a failure fails the test.
func newWriter(t *testing.T, cache *wildkey.Cache, options writer.Options) *writer.Writer {
	t.Helper()
	if options.OnError == nil {
		options.OnError = func(f writer.Failure) { t.Errorf("%v %s: %v", keysOf(f), f.Pattern, f.Err) }
	}
	t.Cleanup(func() { backend.NoneRunning(t, "writer.(*state)") })
	return writer.New(cache, options)
}

func keysOf(f writer.Failure) (keys []string) {
	for _, op := range f.Ops {
		keys = append(keys, op.Key().String())
	}
	return keys
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// record returns the i-th record that lies in the shard.
func record(cache *wildkey.Cache, shard, i int) wildkey.Record {
	for n := 0; ; n++ {
		key := wildkey.K(fmt.Sprint("k", n), i)
		if cache.Layout().Shard(key) == shard {
			return backend.Rec(key, "v")
		}
	}
}

// gate holds up calls of put.lua until it is opened, and lists them.
type gate struct {
	index   string        // holds up those of this shard alone
	answer  error         // in place of the server's
	entered chan struct{} // receives once a script has come to the gate
	open    chan struct{}

	mu    sync.Mutex
	calls []int // the records of each
}

func newGate(client *redis.Client) *gate {
	g := &gate{entered: make(chan struct{}, 1000), open: make(chan struct{})}
	put := wildkey.Scripts()[2].SHA1
	client.AddHook(backend.Answer(func(cmd redis.Cmder) error {
		if cmd.Name() != "evalsha" || cmd.Args()[1] != put || g.index != "" && cmd.Args()[3] != g.index {
			return nil
		}
		g.entered <- struct{}{}
		<-g.open
		g.mu.Lock()
		defer g.mu.Unlock()
		g.calls = append(g.calls, cmd.Args()[2].(int)-1)
		cmd.SetErr(g.answer)
		return g.answer
	}))
	return g
}

func TestWriterKeepsOrderAndMerges(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 4})
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		w := newWriter(t, cache, writer.Options{})
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
		backend.Must(t, w.Close(ctx))
	})
}

func TestWriterReportsErrorsWithTheirOperations(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("there"), "old")))
		var errs []error
		var failed []string
		w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) {
			errs = append(errs, f.Err)
			failed = append(failed, keysOf(f)...)
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
		backend.Must(t, w.Close(ctx))
		if len(errs) != 1 || !redis.HasErrorPrefix(errs[0], "WRONGTYPE") || !slices.Equal(failed, []string{"fine"}) {
			t.Errorf("after a failed delete: %v, %v", errs, failed)
		}
	})
}

func TestWriterRefusesBadArgumentsAtOnce(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		w := newWriter(t, b.Cache(t, wildkey.Options{}), writer.Options{})
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
		if err := w.DeleteMatch(ctx, wildkey.Under(wildkey.K("a", ""))); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("DeleteMatch: %v", err)
		}
		if err := w.TouchMatch(ctx, time.Hour, wildkey.Pattern{}); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("TouchMatch of no pattern: %v", err)
		}
		if err := w.TouchMatch(ctx, 0, everything); !errors.Is(err, wildkey.ErrInvalidTTL) {
			t.Errorf("TouchMatch without a TTL: %v", err)
		}
		if err := w.Put(ended(), backend.Rec(wildkey.K("a"), "v")); err != context.Canceled {
			t.Errorf("Put under a context that has ended: %v", err)
		}
		backend.Must(t, w.Close(ctx))
		backend.Must(t, w.Close(ctx))
		if err := w.Put(ctx, backend.Rec(wildkey.K("a"), "v")); err != writer.ErrClosed {
			t.Errorf("Put after Close: %v", err)
		}
		if err := w.DeleteMatch(ctx, everything); err != writer.ErrClosed {
			t.Errorf("DeleteMatch after Close: %v", err)
		}
		backend.Must(t, w.Flush(ctx))
	})
}

// TestWriterHoldsBackWhenAQueueIsFull, but nobody who writes to another shard. What
// waits for room is queued in no shard.
func TestWriterHoldsBackWhenAQueueIsFull(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 3})
		g := newGate(b.Client)
		w := newWriter(t, cache, writer.Options{Queue: 2})
		backend.Must(t, w.Put(ctx, record(cache, 0, 0)))
		<-g.entered
		backend.Must(t, w.Put(ctx, record(cache, 0, 1)))
		backend.Must(t, w.Put(ctx, record(cache, 0, 2)))
		waitsFor := func(verb string, call func(context.Context) error) {
			t.Helper()
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			if err := call(short); err != context.DeadlineExceeded {
				t.Errorf("%s: %v", verb, err)
			}
		}
		waitsFor("a fourth Put, with one under way and two queued",
			func(ctx context.Context) error { return w.Put(ctx, record(cache, 0, 3)) })
		nothing := wildkey.MustParsePattern("*:nothing")
		backend.Must(t, w.DeleteMatch(ctx, nothing))
		backend.Must(t, w.TouchMatch(ctx, time.Hour, nothing))
		waitsFor("a third pattern of all shards", func(ctx context.Context) error { return w.DeleteMatch(ctx, everything) })
		waitsFor("Flush", w.Flush)
		for shard := 1; shard < 3; shard++ {
			backend.Must(t, w.Waiting().DeleteMatch(ctx, wildkey.Under(record(cache, shard, 0).Key)))
		}
		if got, want := w.Stats(), (writer.Stats{Queued: 5, Longest: 4, Done: 6}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		close(g.open)
		backend.Must(t, w.Close(ctx))
		if n, err := cache.Count(ctx, everything); n != 3 || err != nil {
			t.Errorf("Count: %d, %v, want the three that were queued", n, err)
		}
	})
}

func TestWriterUnderConcurrentUse(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallRecords: 16})
		w := newWriter(t, cache, writer.Options{Queue: 8})
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
		backend.Must(t, w.Close(ctx))
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
	})
}

// TestWriterOnShards: merging and order are those of each shard, and one that is held
// up holds up no other.
func TestWriterOnShards(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 7, CallRecords: 3})
		backend.Must(t, cache.Load(ctx))
		held, free := cache.Layout().Index(0), 1
		g := newGate(b.Client)
		g.index = held
		w := newWriter(t, cache, writer.Options{})
		in := func(i int) wildkey.Record { return record(cache, 0, i) }
		backend.Must(t, w.Put(ctx, in(0)))
		<-g.entered
		backend.Must(t, w.Put(ctx, in(1)))
		backend.Must(t, w.Waiting().Put(ctx, record(cache, free, 0)))
		backend.Must(t, w.Put(ctx, in(2), in(3)))
		backend.Must(t, w.Waiting().Delete(ctx, record(cache, free, 0).Key))
		backend.Must(t, w.Put(ctx, in(4)))
		waiting, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := w.Flush(waiting); err != context.DeadlineExceeded {
			t.Errorf("Flush behind a closed gate: %v", err)
		}
		backend.Must(t, w.Put(ctx, in(5)))
		close(g.open)
		backend.Must(t, w.Flush(ctx))
		if diff := cmp.Diff([]int{1, 3, 2}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		if n, err := cache.Count(ctx, everything); n != 6 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		backend.Must(t, w.Close(ctx))
	})
}

// TestWriterFlushTellsNoFailures: whoever flushes, a failure goes to OnError and to who
// waits for that very call.
func TestWriterFlushTellsNoFailures(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		told := 0
		w := newWriter(t, cache, writer.Options{OnError: func(writer.Failure) {
			time.Sleep(5 * time.Millisecond) // Flush must not be quicker
			told++
		}})
		b.LimitMemory(t, "1")
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		backend.Must(t, w.Flush(ctx))
		if told != 1 {
			t.Errorf("OnError was called %d times when Flush returned", told)
		}
		if err := w.Waiting().Put(ctx, backend.Rec(wildkey.K("a"), "v")); !redis.IsOOMError(err) {
			t.Errorf("who waits for a put that fails is told %v", err)
		}
		b.LimitMemory(t, "0")
		backend.Must(t, w.Waiting().Put(ctx, backend.Rec(wildkey.K("b"), "v")))
		failing := backend.Rec(wildkey.K("b"), "v")
		failing.If = wildkey.Absent()
		var failed *wildkey.ConditionError
		err := w.Waiting().Apply(ctx, wildkey.OpTouch(wildkey.K("a"), time.Hour), wildkey.OpPut(failing))
		if !errors.As(err, &failed) || failed.Index != 1 {
			t.Errorf("who waits for a condition that fails is told %v", err)
		}
		backend.Must(t, w.Waiting().DeleteMatch(ctx, everything))
		backend.Must(t, w.Waiting().Flush(ctx))
		if got, want := w.Stats(), (writer.Stats{Done: 2, Failed: 3}); got != want || told != 3 {
			t.Errorf("%+v, %d told, want %+v", got, told, want)
		}
		backend.WantAll(t, cache, "**")
		backend.Must(t, w.Waiting().Close(ctx))
	})
}

// TestWriterLogsFailures, if nobody asks to be told.
func TestWriterLogsFailures(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		var logged strings.Builder
		log.SetOutput(&logged)
		defer log.SetOutput(os.Stderr)
		w := writer.New(b.Cache(t, wildkey.Options{}), writer.Options{})
		b.Do(t, "SET", "{test}/keys", "foreign")
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("a"), "v")))
		backend.Must(t, w.DeleteMatch(ctx, wildkey.MustParsePattern("b:*")))
		backend.Must(t, w.Close(ctx))
		backend.NoneRunning(t, "writer.(*state)")
		b.Do(t, "DEL", "{test}/keys")
		for _, want := range []string{`1 operations, pattern "", shard 0: `, `0 operations, pattern "b:*"`, "WRONGTYPE"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("%q is not in\n%s", want, logged.String())
			}
		}
	})
}

// TestWriterWaitingOutlastsItsContext: the call stays queued.
func TestWriterWaitingOutlastsItsContext(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		g := newGate(b.Client)
		w := newWriter(t, cache, writer.Options{})
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		err := w.Waiting().Put(short, backend.Rec(wildkey.K("a"), "v"))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "queued") {
			t.Errorf("Put behind the gate: %v", err)
		}
		close(g.open)
		backend.Must(t, w.Close(ctx))
		backend.WantAll(t, cache, "**", "a=v")
	})
}

// TestWriterTakesACopyOfArguments, as the caller's slices may be its own for the next.
func TestWriterTakesACopyOfArguments(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		g := newGate(b.Client)
		w := newWriter(t, cache, writer.Options{})
		ops := []wildkey.Op{wildkey.OpPut(backend.Rec(wildkey.K("a"), "v"))}
		backend.Must(t, w.Apply(ctx, ops...))
		ops[0] = wildkey.OpPut(backend.Rec(wildkey.K("b"), "v"))
		close(g.open)
		backend.Must(t, w.Close(ctx))
		backend.WantAll(t, cache, "**", "a=v")
	})
}

// TestWriterClosesWhileOthersWait: what waits for room, or comes from OnError, is refused.
func TestWriterClosesWhileOthersWait(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		g := newGate(b.Client)
		var w *writer.Writer
		var late error
		closing := make(chan struct{})
		w = newWriter(t, b.Cache(t, wildkey.Options{}), writer.Options{Queue: 1, OnError: func(writer.Failure) {
			<-closing
			late = w.Put(ctx, backend.Rec(wildkey.K("retry"), "v"))
		}})
		backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K("a"), If: wildkey.Present()}))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("b"), "v")))
		waiting, closed := make(chan error), make(chan error)
		go func() { waiting <- w.Put(ctx, backend.Rec(wildkey.K("c"), "v")) }()
		backend.Eventually(t, "a caller waiting for room", func() bool { return backend.Running("writer.(*Writer).enqueue") })
		go func() { closed <- w.Close(ctx) }()
		if err := <-waiting; err != writer.ErrClosed {
			t.Errorf("Put on a full queue that closes: %v", err)
		}
		close(closing)
		close(g.open)
		backend.Must(t, <-closed)
		if late != writer.ErrClosed {
			t.Errorf("Put from OnError while closing: %v", late)
		}
	})
}

// TestWriterCloseGivesUp when its context ends: what waits is dropped, and told of; what
// is under way ends by itself.
func TestWriterCloseGivesUp(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{Shards: 3, CallRecords: 2})
		g := newGate(b.Client)
		var told []writer.Failure
		w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) { told = append(told, f) }})
		backend.Must(t, w.Put(ctx, record(cache, 2, 0)))
		<-g.entered
		for i := range 3 {
			backend.Must(t, w.Put(ctx, record(cache, 2, 1+i)))
		}
		backend.Must(t, w.TouchMatch(ctx, time.Hour, wildkey.Under(record(cache, 2, 0).Key)))
		waiting := make(chan error)
		go func() { waiting <- w.Waiting().Put(ctx, record(cache, 2, 4)) }()
		backend.Eventually(t, "the last call being queued", func() bool { return w.Stats().Queued == 6 })
		backend.Must(t, w.Put(ctx, record(cache, 0, 0)))
		<-g.entered
		backend.Must(t, w.Put(ctx, record(cache, 0, 1)))
		err := w.Close(ended())
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "6 calls dropped, 2 under way") {
			t.Errorf("Close: %v", err)
		}
		if err := <-waiting; !errors.Is(err, writer.ErrClosed) || !errors.Is(err, context.Canceled) {
			t.Errorf("who waits for a call that is dropped is told %v", err)
		}
		if got, want := w.Stats(), (writer.Stats{Queued: 2, Dropped: 6}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		var dropped []string
		for _, f := range told {
			if !errors.Is(f.Err, writer.ErrClosed) {
				t.Error(f.Err)
			}
			dropped = append(dropped, fmt.Sprintf("shard %d: %d %s %v", f.Shard, len(f.Ops), f.Pattern, f.TTL))
		}
		slices.SortStableFunc(dropped, func(a, b string) int { return strings.Compare(a[:8], b[:8]) })
		want := []string{
			"shard 0: 1  0s", "shard 2: 2  0s", "shard 2: 1  0s",
			fmt.Sprintf("shard 2: 0 %s 1h0m0s", wildkey.Under(record(cache, 2, 0).Key)), "shard 2: 1  0s",
		}
		if diff := cmp.Diff(want, dropped); diff != "" {
			t.Errorf("dropped (-want +got)\n%s", diff)
		}
		if err := w.Close(ended()); err == nil || !strings.Contains(err.Error(), "0 calls dropped, 2 under way") {
			t.Errorf("Close once more: %v", err)
		}
		close(g.open)
		backend.Must(t, w.Close(ctx)) // waits for what is under way
		for _, f := range told[len(dropped):] {
			if !errors.Is(f.Err, context.Canceled) {
				t.Errorf("what was under way failed with %v", f.Err)
			}
		}
		if got, want := w.Stats(), (writer.Stats{Failed: 2, Dropped: 6}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// TestWriterDeletesWhatWasQueuedBefore a pattern, and nothing that is queued after it.
func TestWriterDeletesWhatWasQueuedBefore(t *testing.T) {
	for _, shards := range []int{1, 5} {
		backend.Each(t, func(t *testing.T, b *backend.Backend) {
			cache := b.Cache(t, wildkey.Options{Shards: shards, ShardSegments: 2})
			session := func(user int, device string) wildkey.Record {
				return backend.Rec(wildkey.K("user", user, "session", device), "v")
			}
			backend.Must(t, cache.Put(ctx, session(1, "old")))
			g := newGate(b.Client)
			w := newWriter(t, cache, writer.Options{})
			backend.Must(t, w.Put(ctx, session(1, "laptop")))
			<-g.entered
			backend.Must(t, w.Put(ctx, session(1, "phone")))
			backend.Must(t, w.Put(ctx, session(2, "phone")))
			backend.Must(t, w.DeleteMatch(ctx, wildkey.MustParsePattern("user:1:session:*")))
			backend.Must(t, w.Put(ctx, session(1, "tablet")))
			backend.Must(t, w.TouchMatch(ctx, wildkey.NoExpiry, wildkey.MustParsePattern("user:*:session:phone")))
			backend.Must(t, w.Put(ctx, session(3, "phone")))
			close(g.open)
			backend.Must(t, w.Close(ctx))
			var got []string
			for entry, err := range cache.Match(ctx, everything, wildkey.WithTTL()) {
				backend.Must(t, err)
				got = append(got, fmt.Sprint(entry.Key, " ", entry.TTL == wildkey.NoExpiry))
			}
			want := []string{"user:1:session:tablet false", "user:2:session:phone true", "user:3:session:phone false"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%d shards (-want +got)\n%s", shards, diff)
			}
		})
	}
}

// TestWriterLeavesTheRefusedAlone: of calls that are merged only those fail that the
// server refuses by themselves, and a call of several operations fails whole.
func TestWriterLeavesTheRefusedAlone(t *testing.T) {
	backend.OnServers(t, func(t *testing.T, b *backend.Backend) {
		b.Do(t, "ACL", "SETUSER", "app", "reset", "on", ">p", "~{test}/keys", "~{test}:user:*", "+@all")
		limited := b.NewClient(t, func(o *redis.Options) { o.Username, o.Password = "app", "p" })
		cache := backend.Cache(t, limited, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		g := newGate(limited)
		var failed [][]string
		w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) {
			if !redis.IsPermissionError(f.Err) {
				t.Error(f.Err)
			}
			failed = append(failed, keysOf(f))
		}})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("user", "first"), "v")))
		<-g.entered
		refused := make(chan error)
		for n := range 250 {
			rec := backend.Rec(wildkey.K("user", n), "v")
			switch n {
			case 100:
				go func() { refused <- w.Waiting().Put(ctx, backend.Rec(wildkey.K("admin", 1), "v")) }()
				backend.Eventually(t, "the refused being queued", func() bool { return w.Stats().Queued == 102 })
			case 200:
				backend.Must(t, w.Put(ctx, rec, backend.Rec(wildkey.K("admin", 2), "v")))
			default:
				backend.Must(t, w.Put(ctx, rec))
			}
		}
		close(g.open)
		if err := <-refused; !redis.IsPermissionError(err) {
			t.Errorf("who put what is refused is told %v", err)
		}
		backend.Must(t, w.Close(ctx))
		if diff := cmp.Diff([][]string{{"admin:1"}, {"user:200", "admin:2"}}, failed); diff != "" {
			t.Errorf("failed (-want +got)\n%s", diff)
		}
		// 248 others and the first. Each that is refused costs two calls for each halving of 250.
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("user:*")); n != 249 || err != nil {
			t.Errorf("Count: %d, %v", n, err)
		}
		if calls := len(g.calls); calls > 3+2*2*8 {
			t.Errorf("%d calls", calls)
		}
		if got, want := w.Stats(), (writer.Stats{Done: 249, Failed: 2}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// TestWriterOnAFullServer: deletes and touches that are merged with puts are done.
func TestWriterOnAFullServer(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "v"), backend.Rec(wildkey.K("b"), "v")))
		g := newGate(b.Client)
		var failed []string
		w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) {
			if !redis.IsOOMError(f.Err) {
				t.Error(f.Err)
			}
			failed = append(failed, keysOf(f)...)
		}})
		backend.Must(t, w.Apply(ctx, wildkey.OpTouch(wildkey.K("none"), time.Hour)))
		<-g.entered
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("c"), "v")))
		backend.Must(t, w.Delete(ctx, wildkey.K("a")))
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("d"), "v")))
		backend.Must(t, w.Apply(ctx, wildkey.OpTouch(wildkey.K("b"), wildkey.NoExpiry)))
		b.LimitMemory(t, "1")
		close(g.open)
		backend.Must(t, w.Flush(ctx))
		b.LimitMemory(t, "0")
		backend.Must(t, w.Close(ctx))
		backend.WantAll(t, cache, "**", "b=v")
		if ttl, err := cache.TTL(ctx, wildkey.K("b")); ttl != wildkey.NoExpiry || err != nil {
			t.Errorf("TTL: %v, %v", ttl, err)
		}
		if diff := cmp.Diff([]string{"c", "d"}, failed); diff != "" {
			t.Errorf("failed (-want +got)\n%s", diff)
		}
	})
}

// TestWriterRepeatsOnlyWhatIsRefused: a merged call whose answer is lost may have been
// done, and one that the server as a whole refuses would be refused again.
func TestWriterRepeatsOnlyWhatIsRefused(t *testing.T) {
	for _, row := range []struct {
		answer error
		calls  int // of put.lua, for the four that are merged
	}{
		{io.EOF, 1},
		{context.DeadlineExceeded, 1},
		{redis.ErrPoolTimeout, 1},
		{answer("LOADING Redis is loading the dataset in memory"), 1},
		{answer("READONLY You can't write against a read only replica."), 1},
		{answer("MASTERDOWN Link with MASTER is down"), 1},
		{answer("CLUSTERDOWN The cluster is down"), 1},
		{answer("NOREPLICAS Not enough good replicas to write."), 1},
		{answer("ERR max number of clients reached"), 1},
		{answer("TRYAGAIN Multiple keys request during rehashing of slot"), 7},
		{answer("BADARG put: KEYS[2] is not an encoded key"), 7},
	} {
		backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
			client := b.NewClient(t, func(o *redis.Options) { o.MaxRetries = -1 })
			cache := backend.Cache(t, client, wildkey.Options{})
			g := newGate(client)
			g.answer = row.answer
			var told []int
			w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) {
				if !strings.HasSuffix(f.Err.Error(), row.answer.Error()) {
					t.Errorf("%v, want %v", f.Err, row.answer)
				}
				told = append(told, len(f.Ops))
			}})
			backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("first"), "v")))
			<-g.entered
			for n := range 4 {
				backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K(n), "v")))
			}
			close(g.open)
			backend.Must(t, w.Close(ctx))
			want := []int{1, 4}
			if row.calls > 1 {
				want = []int{1, 1, 1, 1, 1}
			}
			if !slices.Equal(told, want) || len(g.calls) != 1+row.calls {
				t.Errorf("%v: %d calls, OnError is told of %v, want %v", row.answer, len(g.calls), told, want)
			}
		})
	}
}

// answer returns an error as a client reads it from a server.
func answer(text string) error { return as(redis.Nil, text) }

func as[T interface {
	~string
	error
}](_ T, text string) error {
	return T(text)
}

// TestWriterMergesWithinBounds: a Writer puts no more into a call than
// Options.CallBytes or one larger record.
func TestWriterMergesWithinBounds(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{CallBytes: 10_000})
		backend.Must(t, cache.Load(ctx))
		g := newGate(b.Client)
		w := newWriter(t, cache, writer.Options{})
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("first"), "v")))
		<-g.entered // while it is under way the others gather
		for n, size := range []int{3_000, 3_000, 3_000, 3_000, 50_000, 1, 1, 9_000, 900, 900} {
			backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("k", n), strings.Repeat("v", size))))
		}
		close(g.open)
		backend.Must(t, w.Close(ctx))
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
		w := newWriter(t, cache, writer.Options{OnError: func(f writer.Failure) {
			for _, key := range keysOf(f) {
				failed = append(failed, fmt.Sprint(key, " ", errors.Is(f.Err, wildkey.ErrCondition)))
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
		backend.Must(t, w.Close(ctx))
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
		w := newWriter(t, cache, writer.Options{})
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
		backend.Must(t, w.Close(ctx))
		if diff := cmp.Diff([]int{1, 2, 3, 1, 1}, g.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		backend.WantAll(t, cache, "**", "a=3", "d=1", "first=v")
	})
}

// TestWriterRefusesTwoShards at once, as no call could write to both.
func TestWriterRefusesTwoShards(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		w := newWriter(t, b.Cache(t, wildkey.Options{Shards: 7}), writer.Options{})
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
		backend.Must(t, w.Close(ctx))
		if n := b.Client.DBSize(ctx).Val(); n != 0 {
			t.Errorf("something was written: %d Redis keys", n)
		}
	})
}
