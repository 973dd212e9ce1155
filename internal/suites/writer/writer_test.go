// Package writer_test holds package writer against servers that stop, clusters and a model.
package writer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/writer"
)

var (
	ctx        = context.Background()
	everything = wildkey.MustParsePattern("**")
)

// forEver is longer than any test stops a server for: its calls wait, and are not lost.
const forEver = 10 * time.Minute

// stoppable are the options of a cluster that goes on without one of its nodes, and does
// not take one for dead that is stopped for a while.
var stoppable = []string{"--cluster-require-full-coverage", "no", "--cluster-node-timeout", "120000"}

func ended() context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// TestCloseOfAStoppedServer returns when its context ends, whatever is queued.
func TestCloseOfAStoppedServer(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, s *redisserver.Server) {
		client := redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: forEver, MaxRetries: -1})
		t.Cleanup(func() { client.Close() })
		cache := backend.Cache(t, client, wildkey.Options{})
		backend.Must(t, cache.Load(ctx))
		dropped := 0
		w := writer.New(cache, writer.Options{OnError: func(f writer.Failure) {
			if !errors.Is(f.Err, writer.ErrClosed) {
				t.Error(f.Err)
			}
			dropped += len(f.Ops)
		}})
		backend.Must(t, s.Pause())
		for n := range 20 {
			backend.Must(t, w.Put(ctx, wildkey.Record{Key: wildkey.K(n), Value: []byte("v"), If: wildkey.Absent()}))
		}
		backend.Eventually(t, "the first call being under way", func() bool { return w.Stats().Longest == 19 })
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := w.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if got, want := w.Stats(), (writer.Stats{Queued: 1, Dropped: 19}); got != want || dropped != 19 {
			t.Errorf("%+v, %d told, want %+v", got, dropped, want)
		}
		backend.Must(t, s.Resume())
		backend.Must(t, w.Close(ctx))
		backend.NoneRunning(t, "writer.(*state)")
		backend.WantAll(t, cache, "**", "0=v")
	})
}

// TestStoppedNode holds up its own shards alone.
func TestStoppedNode(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		for _, row := range []struct {
			name    string
			timeout time.Duration
		}{{"calls wait", forEver}, {"calls are lost", 50 * time.Millisecond}} {
			t.Run(row.name, func(t *testing.T) {
				client := c.Client(t, func(o *redis.ClusterOptions) { o.ReadTimeout, o.MaxRedirects = row.timeout, -1 })
				cache := backend.Cache(t, client, wildkey.Options{Namespace: row.name, Shards: 12})
				backend.Warm(t, cache) // a new ClusterClient has all calls wait while it asks any node for COMMAND
				stopped, err := c.Owner(cache.Layout().Index(0))
				backend.Must(t, err)
				sick := map[int]bool{}
				for shard := range 12 {
					owner, err := c.Owner(cache.Layout().Index(shard))
					backend.Must(t, err)
					sick[shard] = owner == stopped
				}
				w := writer.New(cache, writer.Options{Queue: 10, OnError: func(f writer.Failure) {
					if !sick[f.Shard] || row.timeout == forEver {
						t.Errorf("in shard %d: %v", f.Shard, f.Err)
					}
				}})
				backend.Must(t, stopped.Pause())
				var queued, refused int
				want := map[string]bool{}
				for n := range 2_000 {
					key, call := wildkey.K(n), ctx
					if sick[cache.Layout().Shard(key)] {
						var cancel context.CancelFunc
						call, cancel = context.WithTimeout(ctx, time.Millisecond)
						defer cancel()
					}
					err := w.Put(call, backend.Rec(key, "v"))
					switch {
					case err == nil:
						queued++
						want[key.String()] = true
					case err == context.DeadlineExceeded && call != ctx:
						refused++
					default:
						t.Fatal(err)
					}
				}
				for shard := range 12 { // wait for the last of each shard that is well
					if !sick[shard] {
						backend.Must(t, w.Waiting().Delete(ctx, keyIn(cache, shard)))
						queued++
					}
				}
				if refused == 0 {
					t.Error("no caller had to wait for the stopped node")
				}
				if err := w.DeleteMatch(ended(), everything); err != context.Canceled {
					t.Errorf("DeleteMatch under a context that has ended: %v", err)
				}
				if row.timeout == forEver {
					if err := w.Flush(ended()); err != context.Canceled {
						t.Errorf("Flush: %v", err)
					}
				}
				backend.Must(t, stopped.Resume())
				backend.Must(t, w.Close(ctx))
				backend.NoneRunning(t, "writer.(*state)")
				stats := w.Stats()
				if row.timeout == forEver && stats != (writer.Stats{Done: queued}) || stats.Done+stats.Failed != queued {
					t.Errorf("%+v, and %d were queued", stats, queued)
				}
				found := map[string]bool{}
				for key, err := range cache.MatchKeys(ctx, everything) {
					backend.Must(t, err)
					found[key.String()] = true
				}
				if row.timeout != forEver { // any of the stopped node's may be lost, or be done late
					lost := func(text string, _ bool) bool {
						key, err := wildkey.ParseKey(text)
						backend.Must(t, err)
						return sick[cache.Layout().Shard(key)]
					}
					maps.DeleteFunc(want, lost)
					maps.DeleteFunc(found, lost)
				}
				if diff := cmp.Diff(want, found); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}, stoppable...)
}

// keyIn returns a key of the shard that no test puts.
func keyIn(cache *wildkey.Cache, shard int) wildkey.Key {
	for n := 0; ; n++ {
		if key := wildkey.K(fmt.Sprint("none", n)); cache.Layout().Shard(key) == shard {
			return key
		}
	}
}

// TestSlotThatMoves: while the index has not moved, TRYAGAIN is for records that have, and
// for new ones. Those that are merged with them are written.
func TestSlotThatMoves(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		client := c.Client(t, func(o *redis.ClusterOptions) { o.MaxRedirects = 1 })
		cache := backend.Cache(t, client, wildkey.Options{})
		backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("a"), "old"), backend.Rec(wildkey.K("b"), "old"),
			backend.Rec(wildkey.K("c"), "old")))
		owner, err := c.Owner("{test}/keys")
		backend.Must(t, err)
		to := c.Nodes[0]
		if to == owner {
			to = c.Nodes[1]
		}
		m := c.BeginMove(t, "{test}/keys", to)
		m.Migrate(t, "{test}:b")
		var failed []string
		w := writer.New(cache, writer.Options{OnError: func(f writer.Failure) {
			if !redis.IsTryAgainError(f.Err) {
				t.Error(f.Err)
			}
			for _, op := range f.Ops {
				failed = append(failed, op.Key().String())
			}
		}})
		backend.Must(t, owner.Pause()) // so that they gather
		backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K("a"), "new")))
		backend.Eventually(t, "the first call being under way", func() bool { return w.Stats().Longest == 0 })
		for _, key := range []string{"b", "c", "d"} {
			backend.Must(t, w.Put(ctx, backend.Rec(wildkey.K(key), "new")))
		}
		backend.Must(t, owner.Resume())
		backend.Must(t, w.Close(ctx))
		backend.NoneRunning(t, "writer.(*state)")
		m.End(t)
		if diff := cmp.Diff([]string{"b", "d"}, failed); diff != "" {
			t.Errorf("failed (-want +got)\n%s", diff)
		}
		backend.WantAll(t, cache, "**", "a=new", "b=old", "c=new")
	})
}

// TestAgainstAModel has callers make random calls, each of records of its own, while one
// node after another is stopped for a moment. Each shard's order shows in what is left.
func TestAgainstAModel(t *testing.T) {
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, c *redisserver.Cluster) {
		for _, node := range c.Nodes { // each record whose last segment is "no" is refused
			backend.Must(t, node.Client(t).Do(ctx, "ACL", "SETUSER", "app", "reset", "on", ">p",
				"~{*}/keys", "~{*}:*:ok*", "+@all").Err())
		}
		client := c.Client(t, func(o *redis.ClusterOptions) {
			o.ReadTimeout, o.MaxRetries, o.Username, o.Password = forEver, -1, "app", "p"
		})
		for round := range 5 {
			seed := rand.Uint64()
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				cache := backend.Cache(t, client, wildkey.Options{
					Namespace: fmt.Sprint("round", round), Shards: 9, ShardSegments: 2, CallRecords: 20})
				backend.Must(t, cache.Load(ctx))
				runModel(t, c, cache, seed)
			})
		}
	}, stoppable...)
}

func runModel(t *testing.T, c *redisserver.Cluster, cache *wildkey.Cache, seed uint64) {
	var failed int // of single operations, by OnError
	w := writer.New(cache, writer.Options{Queue: 6, OnError: func(f writer.Failure) {
		if !redis.IsPermissionError(f.Err) && !errors.Is(f.Err, wildkey.ErrCondition) {
			t.Errorf("%v", f.Err)
		}
		failed++
	}})
	callers := make([]*caller, 8)
	var working sync.WaitGroup
	for i := range callers {
		callers[i] = &caller{
			t: t, w: w, cache: cache, name: fmt.Sprint("caller", i),
			random: rand.New(rand.NewPCG(seed, uint64(i))), model: map[string]string{},
		}
		working.Add(1)
		go func() {
			defer working.Done()
			for n := range 400 {
				callers[i].step(n)
			}
		}()
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			node := c.Nodes[n%len(c.Nodes)]
			if err := node.Pause(); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Millisecond)
			if err := node.Resume(); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	working.Wait()
	close(done)
	<-stopped
	backend.Must(t, w.Flush(ctx))
	want, queued, refused := map[string]string{}, 0, 0
	for _, caller := range callers {
		maps.Copy(want, caller.model)
		queued, refused = queued+caller.queued, refused+caller.refused
	}
	got := map[string]string{}
	for entry, err := range cache.Match(ctx, everything) {
		backend.Must(t, err)
		got[entry.Key.String()] = string(entry.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if stats := w.Stats(); stats != (writer.Stats{Done: queued - refused, Failed: refused}) || failed != refused {
		t.Errorf("%+v, %d told; %d were queued and %d of them refused", stats, failed, queued, refused)
	}
	backend.Must(t, w.Close(ctx))
	backend.NoneRunning(t, "writer.(*state)")
}

// caller makes random calls, and knows what is there when those that were queued are done.
type caller struct {
	t      *testing.T
	w      *writer.Writer
	cache  *wildkey.Cache
	name   string
	random *rand.Rand
	model  map[string]string

	queued, refused int // calls; a pattern counts for each of its shards
}

func (c *caller) step(n int) {
	group, value := c.random.IntN(6), fmt.Sprint(n)
	key := func(leaf string) wildkey.Key { return wildkey.K(c.name, group, leaf) }
	leaf := fmt.Sprint("ok", c.random.IntN(4))
	name := key(leaf).String()
	rec := backend.Rec(key(leaf), value)
	_, live := c.model[name]

	call, cancel := ctx, context.CancelFunc(func() {})
	w := c.w
	switch c.random.IntN(8) {
	case 0:
		call, cancel = context.WithTimeout(ctx, time.Duration(c.random.IntN(3_000))*time.Microsecond)
	case 1:
		w = w.Waiting()
	}
	defer cancel()

	var err error
	refused, calls, then := false, 1, func() {}
	switch c.random.IntN(12) {
	case 0, 1, 2:
		err, then = w.Put(call, rec), func() { c.model[name] = value }
	case 3:
		both := key("ok-both")
		err = w.Put(call, rec, backend.Rec(both, value))
		then = func() { c.model[name], c.model[both.String()] = value, value }
	case 4, 5:
		err, then = w.Delete(call, rec.Key, key("ok-both")), func() {
			delete(c.model, name)
			delete(c.model, key("ok-both").String())
		}
	case 6:
		rec.If = wildkey.Absent()
		err, refused, then = w.Put(call, rec), live, func() { c.model[name] = value }
	case 7:
		rec.TTL = wildkey.KeepTTL
		err, refused, then = w.Put(call, rec), !live, func() { c.model[name] = value }
	case 8:
		err, refused = w.Put(call, rec, backend.Rec(key("no"), value)), true
	case 9, 10:
		pattern := wildkey.MustParsePattern(c.name + ":*:" + leaf)
		if c.random.IntN(2) == 0 {
			pattern = wildkey.MustParsePattern(fmt.Sprintf("%s:%d:*", c.name, group))
		}
		calls = len(c.cache.Layout().ShardsOf(pattern))
		err, then = w.DeleteMatch(call, pattern), func() {
			maps.DeleteFunc(c.model, func(name, _ string) bool {
				key, err := wildkey.ParseKey(name)
				return err == nil && pattern.Matches(key)
			})
		}
	case 11:
		if c.random.IntN(2) == 0 {
			if err := w.Flush(call); err != nil && (call == ctx || err != context.DeadlineExceeded) {
				c.t.Error(err)
			}
			return
		}
		pattern := wildkey.MustParsePattern(c.name + ":**")
		calls = len(c.cache.Layout().ShardsOf(pattern))
		err = w.TouchMatch(call, time.Hour, pattern)
	}
	switch {
	case err == context.DeadlineExceeded && call != ctx: // nothing was queued
		return
	case w != c.w && refused && err == nil, err != nil && (w == c.w || !refused):
		c.t.Errorf("call %d of %s, which is to be refused: %t, waited for: %t: %v", n, c.name, refused, w != c.w, err)
	}
	c.queued += calls
	if refused {
		c.refused++
		return
	}
	then()
}
