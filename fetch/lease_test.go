package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
)

// soon is a context that ends long before any lease of these tests does.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func leases(t *testing.T, cache *wildkey.Cache) int {
	t.Helper()
	n, err := cache.Count(ctx, wildkey.MustParsePattern("**").Leases())
	backend.Must(t, err)
	return n
}

// onCall returns a hook that calls f when the n-th EVALSHA of its client has been
// answered, and the answer is not yet known to the caller.
func onCall(n int, f func(cmd redis.Cmder)) backend.Hook {
	calls := 0
	return backend.Hook{After: func(commands []redis.Cmder) {
		if commands[0].Name() != "evalsha" {
			return
		}
		if calls++; calls == n {
			f(commands[0])
		}
	}}
}

// losesOneAnswer is a hook by which the first EVALSHA is done, and its caller is told
// something else.
type losesOneAnswer struct{ err error }

func (h *losesOneAnswer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *losesOneAnswer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *losesOneAnswer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if cmd.Name() == "evalsha" && h.err != nil {
			err, h.err = h.err, nil
			cmd.SetErr(err)
		}
		return err
	}
}

// TestInvalidationBetweenFillAndAnswer: the fill is done, its caller does not know yet,
// and the record is deleted. Who asks after that gets a load of its own.
func TestInvalidationBetweenFillAndAnswer(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		backend.Warm(t, b.Cache(t, wildkey.Options{}))
		filled, goOn, first := make(chan bool), make(chan bool), make(chan string)
		client := b.Hooked(t, onCall(2, func(redis.Cmder) { filled <- true; <-goOn }))
		f := newFetcher(t, backend.Cache(t, client, wildkey.Options{}), fetch.Options{})
		other := newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{})
		get := func(value string, got chan string) {
			v, err := f.Get(ctx, user, loading(value, new(atomic.Int64)))
			got <- fmt.Sprint(string(v), err)
		}
		go get("old", first)
		<-filled
		if n, err := other.Delete(ctx, user); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
		second := make(chan string)
		go get("new", second)
		time.Sleep(20 * time.Millisecond) // most likely it has joined by now; the test holds in any case
		close(goOn)
		if got := <-first; got != "old<nil>" {
			t.Errorf("the first gets %s", got)
		}
		if got := <-second; got != "new<nil>" {
			t.Errorf("who asks after the Delete gets %s", got)
		}
	})
}

// TestWaitersPause, also where the index does not tell what the lease says.
func TestWaitersPause(t *testing.T) {
	for _, where := range []string{"in the index", "with DeclaredKeys", "without an index"} {
		t.Run(where, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				cache := b.Cache(t, wildkey.Options{DeclaredKeys: where == "with DeclaredKeys"})
				loader, waiter := newFetcher(t, cache, fetch.Options{}), newFetcher(t, cache, fetch.Options{})
				reading, goOn, ended := make(chan bool), make(chan bool), make(chan bool)
				go func() {
					defer close(ended)
					wantGet(t, loader, func(context.Context) (fetch.Loaded, error) {
						close(reading)
						<-goOn
						return fetch.Loaded{Value: []byte("ann")}, nil
					}, "ann")
				}()
				<-reading
				if where == "without an index" {
					b.Do(t, "DEL", cache.Layout().Index(0))
				}
				calls := b.CountCalls()
				waiting, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
				if _, err := waiter.Get(waiting, user, nothing); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the waiter: %v", err)
				}
				if calls.Load() > 60 {
					t.Errorf("the waiter makes %d calls in 300 ms", calls.Load())
				}
				close(goOn)
				<-ended
			})
		})
	}
}

func TestNegativeWithDeclaredKeys(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		f := newFetcher(t, b.Cache(t, wildkey.Options{DeclaredKeys: true}), fetch.Options{Negative: time.Hour})
		for range 2 {
			if _, err := f.Get(soon(t), user, nothing); !errors.Is(err, wildkey.ErrNotFound) {
				t.Errorf("Get: %v", err)
			}
		}
		if loads := f.Stats().Loads; loads != 1 {
			t.Errorf("%d loads", loads)
		}
	})
}

// TestLeaseIsGivenBack after each kind of failure: the next caller loads at once.
func TestLeaseIsGivenBack(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T, b *backend.Backend) *fetch.Fetcher{
		"nothing was found, and the server is full": func(t *testing.T, b *backend.Backend) *fetch.Fetcher {
			f := newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{Lease: time.Hour, Negative: time.Minute})
			_, err := f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) {
				b.LimitMemory(t, "1")
				return fetch.Loaded{}, wildkey.ErrNotFound
			})
			b.LimitMemory(t, "0")
			if !errors.Is(err, wildkey.ErrNotFound) {
				t.Errorf("Get: %v", err)
			}
			return f
		},
		"the answer to taking it is lost": func(t *testing.T, b *backend.Backend) *fetch.Fetcher {
			backend.Warm(t, b.Cache(t, wildkey.Options{}))
			lost := errors.New("i/o timeout")
			client := b.NewClient(t, func(*redis.Options) {})
			client.AddHook(&losesOneAnswer{err: lost})
			f := newFetcher(t, backend.Cache(t, client, wildkey.Options{}), fetch.Options{Lease: time.Hour})
			if _, err := f.Get(ctx, user, nothing); !errors.Is(err, lost) {
				t.Errorf("Get: %v", err)
			}
			return f
		},
		"the Load ends its goroutine": func(t *testing.T, b *backend.Backend) *fetch.Fetcher {
			f := newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{Lease: time.Hour})
			_, err := f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) {
				runtime.Goexit()
				return fetch.Loaded{}, nil
			})
			if err == nil || !strings.Contains(err.Error(), "Goexit") {
				t.Errorf("Get: %v", err)
			}
			return f
		},
		"the loaded record has no time to live": func(t *testing.T, b *backend.Backend) *fetch.Fetcher {
			for _, ttl := range []time.Duration{1, -1, wildkey.KeepTTL} {
				f := newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{Lease: time.Hour})
				value, err := f.Get(ctx, user, func(context.Context) (fetch.Loaded, error) {
					return fetch.Loaded{Value: []byte("ann"), TTL: ttl}, nil
				})
				if value != nil || !errors.Is(err, wildkey.ErrInvalidTTL) {
					t.Errorf("TTL %d: Get: %q, %v", ttl, value, err)
				}
			}
			return newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{Lease: time.Hour})
		},
	} {
		t.Run(name, func(t *testing.T) {
			backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
				f := fail(t, b)
				if n := leases(t, b.Cache(t, wildkey.Options{})); n != 0 {
					t.Errorf("%d leases are left", n)
				}
				if value, err := f.Get(soon(t), user, loading("ann", new(atomic.Int64))); string(value) != "ann" || err != nil {
					t.Errorf("then: %q, %v", value, err)
				}
			})
		})
	}
}

// TestLoadThatHangs: its context ends with the lease, and nobody joins it after that.
func TestLoadThatHangs(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		f := newFetcher(t, b.Cache(t, wildkey.Options{}), fetch.Options{Lease: 50 * time.Millisecond})
		hangs, ended := make(chan bool), make(chan bool)
		go func() {
			defer close(ended)
			_, _ = f.Get(ctx, user, func(ctx context.Context) (fetch.Loaded, error) {
				<-ctx.Done() // which tells it, and it goes on all the same
				<-hangs
				return fetch.Loaded{}, ctx.Err()
			})
		}()
		backend.Eventually(t, "the lease is taken", func() bool { return leases(t, b.Cache(t, wildkey.Options{})) == 1 })
		b.Pass(time.Second)
		if value, err := f.Get(soon(t), user.Child("x"), loading("other", new(atomic.Int64))); err != nil {
			t.Errorf("another key: %q, %v", value, err)
		}
		backend.Eventually(t, "a caller gets a load of its own", func() bool {
			calling, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			value, err := f.Get(calling, user, loading("ann", new(atomic.Int64)))
			return string(value) == "ann" && err == nil
		})
		close(hangs)
		<-ended
	})
}

// TestLongestKey: the limit of a key's length is of the key, and not of its lease.
func TestLongestKey(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache, long := b.Cache(t, wildkey.Options{}), wildkey.K(strings.Repeat("x", 4096))
		f := newFetcher(t, cache, fetch.Options{Negative: time.Hour})
		for range 2 {
			if _, err := f.Get(soon(t), long, nothing); !errors.Is(err, wildkey.ErrNotFound) {
				t.Errorf("Get: %v", err)
			}
		}
		if _, err := f.DeleteMatch(ctx, wildkey.MustParsePattern(long.String())); err != nil || leases(t, cache) != 0 {
			t.Errorf("DeleteMatch: %v, and %d leases are left", err, leases(t, cache))
		}
	})
}

// TestDeleteOfAKeyTwice counts it once, as the Cache does.
func TestDeleteOfAKeyTwice(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(user, "v")))
		if n, err := newFetcher(t, cache, fetch.Options{}).Delete(ctx, user, user); n != 1 || err != nil {
			t.Errorf("Delete: %d, %v", n, err)
		}
	})
}

// TestOnShard: patterns of such a Cache look in one shard, and a Fetcher of it works for
// keys of all.
func TestOnShard(t *testing.T) {
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		all := b.Cache(t, wildkey.Options{Shards: 2})
		elsewhere := all.OnShard(1 - all.Layout().Shard(user))
		if entries, err := elsewhere.Collect(ctx, wildkey.MustParsePattern("user:42")); len(entries) > 0 || err != nil {
			t.Errorf("Collect: %v, %v", entries, err)
		}
		reading, goOn := make(chan bool), make(chan bool)
		ended := make(chan bool)
		go func() {
			defer close(ended)
			wantGet(t, newFetcher(t, elsewhere, fetch.Options{}), func(context.Context) (fetch.Loaded, error) {
				close(reading)
				<-goOn
				return fetch.Loaded{Value: []byte("ann")}, nil
			}, "ann")
		}()
		<-reading
		time.AfterFunc(20*time.Millisecond, func() { close(goOn) })
		wantGet(t, newFetcher(t, elsewhere, fetch.Options{}), nothing, "ann")
		<-ended
	})
}
