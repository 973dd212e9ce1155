// Package fetch runs Fetchers of many processes at once on servers.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/redisserver"
)

var ctx = context.Background()

// source is a database of versions.
type source struct {
	mu       sync.Mutex
	versions map[string]int
	floors   map[string]int // what the last invalidation that has returned told of
	loads    atomic.Int64
}

func (s *source) floor(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floors[key]
}

func (s *source) load(key string) fetch.Load {
	return func(context.Context) (fetch.Loaded, error) {
		s.loads.Add(1)
		s.mu.Lock()
		version := s.versions[key]
		s.mu.Unlock()
		time.Sleep(rand.N(5 * time.Millisecond)) // time for an invalidation to come
		if version%7 == 3 {
			return fetch.Loaded{}, wildkey.ErrNotFound
		}
		return fetch.Loaded{Value: []byte(strconv.Itoa(version))}, nil
	}
}

// TestManyProcesses has 64 processes fetch and invalidate a few keys, by each verb, for a
// while. Nobody is given a version older than an invalidation that had returned before it
// asked, and none is stored at the end.
func TestManyProcesses(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		const processes, rounds, products = 64, 40, 3
		db := &source{versions: map[string]int{}, floors: map[string]int{}}
		cacheOptions := wildkey.Options{Namespace: "shop", TTL: time.Minute, Shards: 2, ShardSegments: 2, PageLimit: 2}
		backend.Warm(t, b.Cache(t, cacheOptions))
		var ended sync.WaitGroup
		for process := range processes {
			ended.Add(1)
			go func() {
				defer ended.Done()
				random := rand.New(rand.NewPCG(uint64(process), 0))
				cache := backend.Cache(t, b.NewClient(t, func(*redis.Options) {}), cacheOptions)
				f, err := fetch.New(cache, fetch.Options{Negative: 20 * time.Millisecond, RefreshAhead: 1})
				if err != nil {
					t.Error(err)
					return
				}
				for range rounds {
					key := wildkey.K("product", random.IntN(products))
					if process%8 == 0 {
						err = db.invalidate(f, key, random.IntN(4))
					} else {
						err = db.ask(f, key)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		ended.Wait()
		for entry, err := range b.Cache(t, cacheOptions).Match(ctx, wildkey.MustParsePattern("**")) {
			backend.Must(t, err)
			if version, _ := strconv.Atoi(string(entry.Value)); version < db.floor(entry.Key.String()) {
				t.Errorf("%s is stored with version %d after %d", entry.Key, version, db.floor(entry.Key.String()))
			}
		}
		t.Logf("%d loads of %d calls", db.loads.Load(), processes*rounds)
	})
}

func (s *source) ask(f *fetch.Fetcher, key wildkey.Key) error {
	floor := s.floor(key.String())
	value, err := f.Get(ctx, key, s.load(key.String()))
	if errors.Is(err, wildkey.ErrNotFound) {
		return nil
	}
	if version, _ := strconv.Atoi(string(value)); err == nil && version < floor {
		err = fmt.Errorf("%s: version %d after an invalidation that told of %d", key, version, floor)
	}
	return err
}

// invalidate changes the source, tells the cache in one of the ways, and notes that it has.
func (s *source) invalidate(f *fetch.Fetcher, key wildkey.Key, way int) (err error) {
	s.mu.Lock()
	s.versions[key.String()]++
	version := s.versions[key.String()]
	s.mu.Unlock()
	switch way {
	case 0:
		_, err = f.Delete(ctx, key)
	case 1:
		_, err = f.DeleteMatch(ctx, wildkey.MustParsePattern("product:*"))
	case 2:
		_, err = f.Take(ctx, key)
		if errors.Is(err, wildkey.ErrNotFound) {
			err = nil
		}
	case 3:
		_, err = f.Apply(ctx, wildkey.OpDelete(key))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floors[key.String()] = max(version, s.floors[key.String()])
	return err
}

// TestDeadLoader: the process that loads is gone. The others wait until its lease has
// ended, one of them loads, and nobody fails.
func TestDeadLoader(t *testing.T) {
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		key, loads := wildkey.K("product", 7), new(atomic.Int64)
		options := fetch.Options{Lease: 300 * time.Millisecond}
		dead, err := fetch.New(b.Cache(t, wildkey.Options{TTL: time.Minute}), options)
		backend.Must(t, err)
		loading, forever := make(chan bool), make(chan bool)
		defer close(forever)
		go func() {
			_, _ = dead.Get(ctx, key, func(context.Context) (fetch.Loaded, error) {
				close(loading)
				<-forever
				return fetch.Loaded{}, errors.New("it is dead")
			})
		}()
		<-loading
		var ended sync.WaitGroup
		for range 10 {
			f, err := fetch.New(b.Cache(t, wildkey.Options{TTL: time.Minute}), options)
			backend.Must(t, err)
			ended.Add(1)
			go func() {
				defer ended.Done()
				value, err := f.Get(ctx, key, func(context.Context) (fetch.Loaded, error) {
					loads.Add(1)
					return fetch.Loaded{Value: []byte("v")}, nil
				})
				if string(value) != "v" || err != nil {
					t.Errorf("Get: %q, %v", value, err)
				}
			}()
		}
		if b.Engine != nil {
			backend.Eventually(t, "all wait", func() bool { return len(b.Engine.Trace()) > 60 })
			b.Pass(time.Second)
		}
		ended.Wait()
		if loads.Load() != 1 {
			t.Errorf("%d loads", loads.Load())
		}
	})
}

// TestWhileASlotMoves: Put and Delete wait until the move is over, as the absent lease is
// TRYAGAIN till then, or until their context ends. A load that the slot takes unawares
// returns its value.
func TestWhileASlotMoves(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		cache := backend.Cache(t, c.Client(t, nil), wildkey.Options{TTL: time.Hour})
		f, err := fetch.New(cache, fetch.Options{})
		backend.Must(t, err)
		key, index := wildkey.K("product", 7), cache.Layout().Index(0)
		backend.Must(t, cache.Put(ctx, backend.Rec(key, "old")))
		backend.Must(t, cache.Load(ctx))
		owner, err := c.Owner(index)
		backend.Must(t, err)
		to := c.Nodes[0]
		if to == owner {
			to = c.Nodes[1]
		}
		move := c.BeginMove(t, index, to)
		move.Migrate(t, index)

		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if err := f.Put(short, backend.Rec(key, "late")); !redis.IsTryAgainError(err) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put with a context that ends: %v", err)
		}
		value, err := f.Get(ctx, wildkey.K("product", 8), func(context.Context) (fetch.Loaded, error) {
			return fetch.Loaded{Value: []byte("loaded")}, nil
		})
		if string(value) != "loaded" || err != nil {
			t.Errorf("Get: %q, %v", value, err)
		}
		put := make(chan error)
		go func() { put <- f.Put(ctx, backend.Rec(key, "new")) }()
		select {
		case err := <-put:
			t.Errorf("Put does not wait: %v", err)
		case <-time.After(300 * time.Millisecond):
			move.End(t)
			backend.Must(t, <-put)
		}
		backend.WantAll(t, cache, "**", "product:7=new")
	})
}
