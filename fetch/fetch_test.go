package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
)

var (
	ctx  = context.Background()
	user = wildkey.K("user", 42)
)

func newFetcher(t *testing.T, cache *wildkey.Cache, options fetch.Options) *fetch.Fetcher {
	t.Helper()
	f, err := fetch.New(cache, options)
	backend.Must(t, err)
	return f
}

// loading returns a Load of a value, and counts its calls.
func loading(value string, calls *atomic.Int64) fetch.Load {
	return func(context.Context) (fetch.Loaded, error) {
		calls.Add(1)
		return fetch.Loaded{Value: []byte(value)}, nil
	}
}

func nothing(context.Context) (fetch.Loaded, error) { return fetch.Loaded{}, wildkey.ErrNotFound }

func wantGet(t *testing.T, f *fetch.Fetcher, load fetch.Load, want string) {
	t.Helper()
	if got, err := f.Get(ctx, user, load); string(got) != want || err != nil {
		t.Errorf("Get: %q, %v, want %q", got, err, want)
	}
}

func TestNewRefuses(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		withTTL := b.Cache(t, wildkey.Options{TTL: time.Hour})
		withoutTTL := b.Cache(t, wildkey.Options{TTL: wildkey.NoExpiry})
		for _, test := range []struct {
			cache   *wildkey.Cache
			options fetch.Options
			want    string
		}{
			{nil, fetch.Options{}, "the cache is nil"},
			{withTTL, fetch.Options{Lease: time.Microsecond}, "Lease is 1µs, below a millisecond"},
			{withTTL, fetch.Options{Lease: -time.Second}, "Lease is -1s, below a millisecond"},
			{withTTL, fetch.Options{Negative: time.Microsecond}, "Negative is 1µs, below a millisecond"},
			{withTTL, fetch.Options{RefreshAhead: 1.5}, "RefreshAhead is 1.5, but must be 0 to 1"},
			{withTTL, fetch.Options{RefreshAhead: math.NaN()}, "RefreshAhead is NaN, but must be 0 to 1"},
			{withTTL, fetch.Options{Lease: wildkey.NoExpiry}, "Lease is NoExpiry"},
			{b.Cache(t, wildkey.Options{CallRecords: 1}), fetch.Options{}, "CallRecords is 1"},
			{withoutTTL, fetch.Options{RefreshAhead: 0.1}, "RefreshAhead is a share of the cache's Options.TTL, which has none"},
		} {
			if _, err := fetch.New(test.cache, test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%+v: %v, want %s", test.options, err, test.want)
			}
		}
	})
}

func TestGetLoadsOnce(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour, Shards: 3})
		f, calls := newFetcher(t, cache, fetch.Options{}), new(atomic.Int64)
		wantGet(t, f, loading("ann", calls), "ann")
		wantGet(t, f, loading("another", calls), "ann")
		if calls.Load() != 1 {
			t.Errorf("%d loads", calls.Load())
		}
		if ttl, err := cache.TTL(ctx, user); ttl < 59*time.Minute || err != nil {
			t.Errorf("the record lives for %v, %v", ttl, err)
		}
		backend.WantAll(t, cache, "**", "user:42=ann")
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**").Leases()); n != 0 || err != nil {
			t.Errorf("%d leases are left, %v", n, err)
		}
		if diff := cmp.Diff(fetch.Stats{Loads: 1, Stored: 1}, f.Stats()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestLoadedHasATTLOfItsOwn(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f := newFetcher(t, cache, fetch.Options{})
		wantGet(t, f, func(context.Context) (fetch.Loaded, error) {
			return fetch.Loaded{TTL: time.Minute}, nil
		}, "")
		if ttl, err := cache.TTL(ctx, user); ttl > time.Minute || err != nil {
			t.Errorf("the record lives for %v, %v", ttl, err)
		}
	})
}

// TestCalls holds the table of docs/fetch.md: the round trips of each verb.
func TestCalls(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		backend.Must(t, cache.Load(ctx))
		f, calls := newFetcher(t, cache, fetch.Options{Negative: time.Hour}), b.CountCalls()
		absent := wildkey.K("user", 43)
		for _, step := range []struct {
			name string
			want int64
			do   func() error
		}{
			{"miss", 3, func() error { _, err := f.Get(ctx, user, loading("ann", new(atomic.Int64))); return err }},
			{"hit", 1, func() error { _, err := f.Get(ctx, user, nil); return err }},
			{"nothing", 3, func() error { _, err := f.Get(ctx, absent, nothing); return err }},
			{"remembered nothing", 3, func() error { _, err := f.Get(ctx, absent, nil); return err }},
			{"Put", 1, func() error { return f.Put(ctx, backend.Rec(user, "bob")) }},
			{"Delete", 1, func() error { _, err := f.Delete(ctx, absent); return err }},
			{"Take", 2, func() error { _, err := f.Take(ctx, user); return err }},
		} {
			before := calls.Load()
			if err := step.do(); err != nil && !errors.Is(err, wildkey.ErrNotFound) {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := calls.Load() - before; got != step.want {
				t.Errorf("%s makes %d calls, want %d", step.name, got, step.want)
			}
		}
	})
}

// TestProcesses has Fetchers of their own stand for processes: all callers at once cause
// one load, and all get its value.
func TestProcesses(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		const processes, callers = 10, 30
		calls, ended := new(atomic.Int64), sync.WaitGroup{}
		for range processes {
			f := newFetcher(t, b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{Lease: time.Minute})
			for range callers {
				ended.Add(1)
				go func() {
					defer ended.Done()
					wantGet(t, f, func(context.Context) (fetch.Loaded, error) {
						calls.Add(1)
						time.Sleep(20 * time.Millisecond)
						return fetch.Loaded{Value: []byte("ann")}, nil
					}, "ann")
				}()
			}
		}
		ended.Wait()
		if calls.Load() != 1 {
			t.Errorf("%d loads", calls.Load())
		}
	})
}

func TestLoadFails(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		f, calls := newFetcher(t, b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{Lease: time.Minute}), new(atomic.Int64)
		down := errors.New("the database is down")
		if _, err := f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) { return fetch.Loaded{}, down }); !errors.Is(err, down) {
			t.Errorf("%v", err)
		}
		wantGet(t, f, loading("ann", calls), "ann") // at once: the lease was given back
	})
}

func TestLoadPanics(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		f, calls := newFetcher(t, b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{Lease: time.Minute}), new(atomic.Int64)
		func() {
			defer func() {
				if reason := fmt.Sprint(recover()); !strings.Contains(reason, "no such row") || !strings.Contains(reason, "fetch_test.go") {
					t.Errorf("the caller's panic: %s", reason)
				}
			}()
			_, _ = f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) { panic("no such row") })
			t.Error("Get returned")
		}()
		wantGet(t, f, loading("ann", calls), "ann")
	})
}

func TestNegative(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, calls := newFetcher(t, cache, fetch.Options{Negative: time.Minute}), new(atomic.Int64)
		wantNothing := func(load fetch.Load) {
			t.Helper()
			if value, err := f.Get(ctx, user, load); !errors.Is(err, wildkey.ErrNotFound) {
				t.Errorf("Get: %q, %v", value, err)
			}
		}
		wantNothing(nothing)
		wantNothing(loading("ann", calls)) // remembered
		if n, err := cache.Count(ctx, wildkey.MustParsePattern("**")); n != 0 || err != nil {
			t.Errorf("a negative result counts: %d, %v", n, err)
		}
		b.Pass(61 * time.Second)
		wantGet(t, f, loading("ann", calls), "ann")

		_, err := f.Delete(ctx, user)
		backend.Must(t, err)
		wantNothing(nothing)
		backend.Must(t, f.Put(ctx, backend.Rec(user, "bob"))) // voids it
		wantGet(t, f, loading("ann", calls), "bob")
		_, err = f.Delete(ctx, user)
		backend.Must(t, err)
		wantGet(t, f, loading("cid", calls), "cid")
	})
}

// TestVoid has each verb come while a value is being loaded: it is returned, and not
// stored.
func TestVoid(t *testing.T) {
	verbs := map[string]func(f *fetch.Fetcher) error{
		"Put":    func(f *fetch.Fetcher) error { return f.Put(ctx, backend.Rec(user, "new")) },
		"Delete": func(f *fetch.Fetcher) error { _, err := f.Delete(ctx, user); return err },
		"DeleteMatch": func(f *fetch.Fetcher) error {
			_, err := f.DeleteMatch(ctx, wildkey.MustParsePattern("user:*"))
			return err
		},
		"Apply": func(f *fetch.Fetcher) error {
			_, err := f.Apply(ctx, wildkey.OpTouch(wildkey.K("user", 42, "seen"), time.Hour), wildkey.OpDelete(user))
			return err
		},
		"Take": func(f *fetch.Fetcher) error {
			if _, err := f.Take(ctx, user); !errors.Is(err, wildkey.ErrNotFound) {
				return fmt.Errorf("it found a record, %w", err)
			}
			return nil
		},
	}
	for name, void := range verbs {
		t.Run(name, func(t *testing.T) {
			backend.Each(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{TTL: time.Hour, Shards: 5})
				loader, other := newFetcher(t, cache, fetch.Options{}), newFetcher(t, cache, fetch.Options{})
				wantGet(t, loader, func(context.Context) (fetch.Loaded, error) {
					return fetch.Loaded{Value: []byte("old")}, void(other)
				}, "old")
				switch value, err := cache.Get(ctx, user); {
				case name == "Put" && (string(value) != "new" || err != nil):
					t.Errorf("stored is %q, %v", value, err)
				case name != "Put" && !errors.Is(err, wildkey.ErrNotFound):
					t.Errorf("stored is %q, %v", value, err)
				}
				if refused := loader.Stats().Refused; refused != 1 {
					t.Errorf("%d fills are refused", refused)
				}
			})
		})
	}
}

// TestNoVoid: what does not change a record leaves its lease.
func TestNoVoid(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, other := newFetcher(t, cache, fetch.Options{}), newFetcher(t, cache, fetch.Options{})
		wantGet(t, f, func(context.Context) (fetch.Loaded, error) {
			if _, err := other.Apply(ctx, wildkey.OpTouch(user, time.Hour), wildkey.OpCheck(user.Child("x")).If(wildkey.Absent())); err != nil {
				t.Error(err)
			}
			if err := other.Put(ctx, wildkey.Record{Key: user, If: wildkey.Present()}); !errors.Is(err, wildkey.ErrCondition) {
				t.Error(err)
			}
			return fetch.Loaded{Value: []byte("ann")}, nil
		}, "ann")
		backend.WantAll(t, cache, "**", "user:42=ann")
	})
}

// TestCounts: verbs count records, and not the leases that they void.
func TestCounts(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f := newFetcher(t, cache, fetch.Options{Negative: time.Hour})
		for i := range 3 {
			if _, err := f.Get(ctx, wildkey.K("user", i), nothing); !errors.Is(err, wildkey.ErrNotFound) {
				t.Fatal(err)
			}
		}
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", 1), "v"), backend.Rec(user, "v")))
		if n, err := f.Delete(ctx, wildkey.K("user", 0), wildkey.K("user", 1)); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		if n, err := f.DeleteMatch(ctx, wildkey.MustParsePattern("**")); n != 1 || err != nil {
			t.Errorf("DeleteMatch: %d, %v", n, err)
		}
		if n := len(b.Members(t)); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}

// TestJoinsNoOldLoad: who asks after an invalidation does not get what a call of the
// same process read before it.
func TestJoinsNoOldLoad(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, other := newFetcher(t, cache, fetch.Options{}), newFetcher(t, cache, fetch.Options{})
		reading, goOn, calls := make(chan bool), make(chan bool), new(atomic.Int64)
		first := make(chan string)
		go func() {
			value, err := f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) {
				reading <- true
				<-goOn
				return fetch.Loaded{Value: []byte("old")}, nil
			})
			first <- fmt.Sprint(string(value), err)
		}()
		<-reading
		_, err := other.Delete(ctx, user)
		backend.Must(t, err)
		second := make(chan string)
		go func() {
			value, err := f.Get(ctx, user, loading("new", calls))
			second <- fmt.Sprint(string(value), err)
		}()
		time.Sleep(20 * time.Millisecond) // most likely both wait now; the test holds in any case
		close(goOn)
		if got := <-first; got != "old<nil>" {
			t.Errorf("the first gets %s", got)
		}
		if got := <-second; got != "new<nil>" {
			t.Errorf("the second gets %s", got)
		}
	})
}

func TestContextOfAWaiter(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		for _, endWithCaller := range []bool{false, true} {
			cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
			f := newFetcher(t, cache, fetch.Options{EndWithCaller: endWithCaller})
			_, err := f.Delete(ctx, user)
			backend.Must(t, err)
			calling, cancel := context.WithCancel(ctx)
			ended := make(chan error, 1)
			_, err = f.Get(calling, user, func(ctx context.Context) (fetch.Loaded, error) {
				cancel()
				if endWithCaller {
					<-ctx.Done()
				} else {
					time.Sleep(20 * time.Millisecond)
				}
				ended <- ctx.Err()
				return fetch.Loaded{Value: []byte("ann")}, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("EndWithCaller %t: Get: %v", endWithCaller, err)
			}
			if err := <-ended; errors.Is(err, context.Canceled) != endWithCaller {
				t.Errorf("EndWithCaller %t: the context of the Load: %v", endWithCaller, err)
			}
			backend.Eventually(t, "the lease is given back", func() bool {
				n, err := cache.Count(ctx, wildkey.MustParsePattern("**").Leases())
				return n == 0 && err == nil
			})
			if _, err := cache.Get(ctx, user); errors.Is(err, wildkey.ErrNotFound) != endWithCaller {
				t.Errorf("EndWithCaller %t: stored: %v", endWithCaller, err)
			}
		}
	})
}

// TestOneWaiterGivesUp ends no load of the others.
func TestOneWaiterGivesUp(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		f := newFetcher(t, b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{EndWithCaller: true})
		got := make(chan string)
		go func() {
			value, err := f.Get(ctx, user, func(loading context.Context) (fetch.Loaded, error) {
				calling, cancel := context.WithCancel(ctx)
				cancel()
				if _, err := f.Get(calling, user, nil); !errors.Is(err, context.Canceled) {
					t.Errorf("the second caller: %v", err)
				}
				return fetch.Loaded{Value: []byte("ann")}, loading.Err()
			})
			got <- fmt.Sprint(string(value), err)
		}()
		if got := <-got; got != "ann<nil>" {
			t.Errorf("the first caller gets %s", got)
		}
	})
}

func TestServerWithoutLeases(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, calls := newFetcher(t, cache, fetch.Options{}), new(atomic.Int64)
		backend.Warm(t, cache)
		b.LimitMemory(t, "1")
		wantGet(t, f, loading("ann", calls), "ann")
		b.LimitMemory(t, "0")
		if _, err := cache.Get(ctx, user); !errors.Is(err, wildkey.ErrNotFound) {
			t.Errorf("stored: %v", err)
		}
		if diff := cmp.Diff(fetch.Stats{Loads: 1, Unleased: 1}, f.Stats()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

// TestFullAtTheEnd: the server is full when the load ends. The value is returned, and
// the lease is given back, which frees memory.
func TestFullAtTheEnd(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		f, calls := newFetcher(t, cache, fetch.Options{Lease: time.Hour}), new(atomic.Int64)
		wantGet(t, f, func(context.Context) (fetch.Loaded, error) {
			b.LimitMemory(t, "1")
			return fetch.Loaded{Value: []byte("ann")}, nil
		}, "ann")
		b.LimitMemory(t, "0")
		if diff := cmp.Diff(fetch.Stats{Loads: 1, Failed: 1}, f.Stats()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		wantGet(t, f, loading("bob", calls), "bob")
	})
}

// TestAnswerOfTheLeaseIsLost: the call that takes the lease is done, its answer is
// lost, and go-redis sends it again. The lease is one's own.
func TestAnswerOfTheLeaseIsLost(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		backend.Warm(t, b.Cache(t, wildkey.Options{TTL: time.Hour}))
		doubled := false
		client := b.Hooked(t, backend.Hook{Before: func(commands []redis.Cmder) {
			if commands[0].Name() == "evalsha" && !doubled {
				doubled = true
				b.Do(t, commands[0].Args()...)
			}
		}})
		f := newFetcher(t, backend.Cache(t, client, wildkey.Options{TTL: time.Hour}), fetch.Options{Lease: time.Hour})
		wantGet(t, f, loading("ann", new(atomic.Int64)), "ann")
		if !doubled {
			t.Error("no call was doubled")
		}
	})
}

func TestInvalidKey(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		f := newFetcher(t, b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{})
		if _, err := f.Get(ctx, wildkey.K("user", nil), nothing); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Get: %v", err)
		}
		if _, err := f.Delete(ctx, wildkey.K("")); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("Delete: %v", err)
		}
	})
}

// TestCrowdWithoutLeases: a process whose server refuses leases loads a few times for a
// crowd, and not once for each of its callers.
func TestCrowdWithoutLeases(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		backend.Warm(t, cache)
		b.LimitMemory(t, "1")
		f, loads := newFetcher(t, cache, fetch.Options{}), new(atomic.Int64)
		const callers = 200
		var ended sync.WaitGroup
		for range callers {
			ended.Add(1)
			go func() {
				defer ended.Done()
				wantGet(t, f, func(context.Context) (fetch.Loaded, error) {
					loads.Add(1)
					time.Sleep(20 * time.Millisecond)
					return fetch.Loaded{Value: []byte("ann")}, nil
				}, "ann")
			}()
		}
		ended.Wait()
		if loads.Load() > callers*3/4 {
			t.Errorf("%d loads for %d callers", loads.Load(), callers)
		}
	})
}

// TestCrowdThatFindsNothing: a negative result of another process answers a whole crowd.
func TestCrowdThatFindsNothing(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{TTL: time.Hour})
		_, err := newFetcher(t, cache, fetch.Options{Negative: time.Hour}).Get(ctx, user, nothing)
		if !errors.Is(err, wildkey.ErrNotFound) {
			t.Fatal(err)
		}
		f, calls := newFetcher(t, cache, fetch.Options{}), b.CountCalls()
		const callers = 200
		var ended sync.WaitGroup
		for range callers {
			ended.Add(1)
			go func() {
				defer ended.Done()
				if _, err := f.Get(ctx, user, nil); !errors.Is(err, wildkey.ErrNotFound) {
					t.Errorf("Get: %v", err)
				}
			}()
		}
		ended.Wait()
		if calls.Load() > 10*callers {
			t.Errorf("%d calls for %d callers", calls.Load(), callers)
		}
	})
}
