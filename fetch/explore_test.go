package fetch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/luatest"
)

var enough = flag.Int("explore-schedules", 100, "after how many schedules TestExplore leaves a scenario, once it has tried all of one depth")

// world is what the actors of an exploration share: the engine, and the source from
// which they load. Each call of Redis, each beginning and end of a Load and each pause
// is a step. One actor takes a step at a time, in the order of a schedule.
type world struct {
	engine *luatest.Engine

	mu      sync.Mutex
	changed *sync.Cond
	actors  []*actor

	version     int // of the source
	invalidated int // what the source had when the last invalidation that has returned began
	loads, lost int // loads under way; leases voided, evicted or expired so far
	breach      string
}

type actor struct {
	name string
	run  func(a *actor)
	w    *world

	client  *redis.Client
	cache   *wildkey.Cache
	fetcher *Fetcher

	state string // "running", "at: ..." or "done"
	let   chan struct{}
}

// step waits until the actor may go on.
func (a *actor) step(what string) {
	a.w.mu.Lock()
	a.state = "at: " + what
	a.w.changed.Broadcast()
	a.w.mu.Unlock()
	<-a.let
}

// hook makes each command of an actor's client a step.
type hook struct{ a *actor }

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.a.step(cmd.Name())
		return next(ctx, cmd)
	}
}

func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// scenario is what is explored: how the world begins, and who acts.
type scenario struct {
	name    string
	options Options
	cache   wildkey.Options
	begin   func(w *world)
	actors  map[string]func(a *actor)
}

var key = wildkey.K("product", 7)

// get gets the product, and holds the value against what has been invalidated before
// it began.
func get(a *actor) {
	a.step("begin")
	a.w.mu.Lock()
	floor := a.w.invalidated
	a.w.mu.Unlock()
	value, err := a.fetcher.Get(context.Background(), key, a.load)
	if errors.Is(err, wildkey.ErrNotFound) {
		value, err = []byte(strconv.Itoa(absent)), nil
	}
	if err != nil {
		a.w.fail("%s: %v", a.name, err)
		return
	}
	if got, _ := strconv.Atoi(string(value)); got < floor {
		a.w.fail("%s got version %d after version %d was told of", a.name, got, floor)
	}
}

// absent is the version of the source at which there is no product.
const absent = 1

func (a *actor) load(context.Context) (Loaded, error) {
	w := a.w
	w.mu.Lock()
	if w.loads++; w.loads > 1+w.lost {
		w.breach = fmt.Sprintf("%d loads at a time, and %d leases were lost", w.loads, w.lost)
	}
	version := w.version
	w.mu.Unlock()
	a.step("load")
	w.mu.Lock()
	w.loads--
	w.mu.Unlock()
	if version == absent && a.fetcher.options.Negative > 0 {
		return Loaded{}, wildkey.ErrNotFound
	}
	return Loaded{Value: []byte(strconv.Itoa(version))}, nil
}

// die begins to load and is never heard of again.
func die(a *actor) {
	_, _ = a.fetcher.Get(context.Background(), key, func(context.Context) (Loaded, error) {
		a.w.mu.Lock()
		a.state = "done"
		a.w.changed.Broadcast()
		a.w.mu.Unlock()
		select {}
	})
}

// invalidate changes the source and then tells the cache.
func invalidate(tell func(a *actor, version int) error) func(a *actor) {
	return func(a *actor) {
		a.step("change")
		a.w.mu.Lock()
		a.w.version++
		version := a.w.version
		a.w.lost++ // from now on
		a.w.mu.Unlock()
		if err := tell(a, version); err != nil {
			a.w.fail("%s: %v", a.name, err)
		}
		a.w.mu.Lock()
		a.w.invalidated = version
		a.w.mu.Unlock()
	}
}

func lose(redisKey string) func(a *actor) {
	return func(a *actor) {
		a.step("lose " + redisKey)
		a.w.mu.Lock()
		a.w.lost++
		a.w.mu.Unlock()
		a.w.engine.Do("DEL", redisKey)
	}
}

func expire(a *actor) {
	a.step("expire")
	a.w.mu.Lock()
	a.w.lost++
	a.w.mu.Unlock()
	a.w.engine.Advance(time.Minute)
}

var (
	deleteKey   = invalidate(func(a *actor, _ int) error { _, err := a.fetcher.Delete(context.Background(), key); return err })
	deleteMatch = invalidate(func(a *actor, _ int) error {
		_, err := a.fetcher.DeleteMatch(context.Background(), wildkey.MustParsePattern("product:**"))
		return err
	})
	putNew = invalidate(func(a *actor, version int) error {
		return a.fetcher.Put(context.Background(), wildkey.Record{Key: key, Value: []byte(strconv.Itoa(version))})
	})
	take = invalidate(func(a *actor, _ int) error {
		_, err := a.fetcher.Take(context.Background(), key)
		if errors.Is(err, wildkey.ErrNotFound) {
			err = nil
		}
		return err
	})
)

func putOld(w *world) {
	w.engine.Do("ZADD", "{shop}/keys", "0", key.String())
	w.engine.Do("SET", "{shop}:"+key.String(), "0", "PX", "50000")
}

// crowd has the pattern meet more than one page of leases, and of records.
func crowd(w *world) {
	putOld(w)
	for _, member := range []string{"!product:1", "!product:9", "product:1", "product:9"} {
		w.engine.Do("ZADD", "{shop}/keys", "0", member)
		w.engine.Do("SET", "{shop}:"+member, "x", "PX", "50000")
	}
}

var scenarios = []scenario{
	{name: "two loaders and a Delete", actors: map[string]func(*actor){"a": get, "b": get, "i": deleteKey}},
	{name: "two loaders and a Put", actors: map[string]func(*actor){"a": get, "b": get, "i": putNew}},
	{name: "a record, and a Take", begin: putOld, actors: map[string]func(*actor){"a": get, "b": get, "i": take}},
	{name: "a record, and a DeleteMatch of several pages", begin: crowd,
		cache: wildkey.Options{PageLimit: 1, CallRecords: 4}, actors: map[string]func(*actor){"a": get, "i": deleteMatch}},
	{name: "a DeleteMatch, and who comes after it", cache: wildkey.Options{PageLimit: 1, CallRecords: 4},
		actors: map[string]func(*actor){"a": get, "b": get, "i": deleteMatch}},
	{name: "a lease is evicted", actors: map[string]func(*actor){
		"a": get, "b": get, "e": lose("{shop}:!" + key.String()), "i": deleteKey}},
	{name: "a record is evicted", begin: putOld, actors: map[string]func(*actor){
		"a": get, "b": get, "e": lose("{shop}:" + key.String()), "i": putNew}},
	{name: "a lease expires", actors: map[string]func(*actor){"a": get, "b": get, "t": expire, "i": deleteKey}},
	{name: "ahead of its end, and a Delete", begin: putOld, options: Options{RefreshAhead: 1},
		actors: map[string]func(*actor){"a": get, "b": get, "i": deleteKey}},
	{name: "ahead of its end, and a Put", begin: putOld, options: Options{RefreshAhead: 1},
		actors: map[string]func(*actor){"a": get, "b": get, "i": putNew}},
	{name: "ahead of its end, and a DeleteMatch", begin: crowd, options: Options{RefreshAhead: 1},
		cache: wildkey.Options{PageLimit: 1, CallRecords: 4}, actors: map[string]func(*actor){"a": get, "i": deleteMatch}},
	{name: "nothing to load, and a Put", options: Options{Negative: time.Second},
		actors: map[string]func(*actor){"a": get, "b": get, "i": func(a *actor) { deleteKey(a); putNew(a) }}},
	{name: "a loader dies", actors: map[string]func(*actor){"d": die, "a": get, "t": expire, "i": deleteKey}},
}

// TestExplore tries every order of the first steps of each scenario, and takes the rest in
// turns. It begins with few such steps and goes deeper until it has tried enough schedules.
// After every step: no value that is older than an invalidation which has
// returned is stored, or returned to who asks after it; and no two load at a time
// unless a lease was lost.
func TestExplore(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s)
			depth, steps, schedules := 2, 3, 0
			for ; schedules < *enough && depth < steps; depth++ {
				for schedule := []int{}; schedule != nil; schedules++ {
					trace, choices := w.play(s, schedule, depth)
					if w.breach != "" {
						t.Fatalf("%s, after\n%s", w.breach, strings.Join(trace, "\n"))
					}
					schedule, steps = next(schedule, choices, depth), max(steps, len(choices))
				}
			}
			t.Logf("the first %d of up to %d steps in every order: %d schedules", depth-1, steps, schedules)
		})
	}
}

// next returns the schedule after one that had so many choices at each step, or nil when
// all to this depth have been tried.
func next(schedule, choices []int, depth int) []int {
	full := make([]int, min(depth, len(choices)))
	copy(full, schedule)
	for i := len(full) - 1; i >= 0; i-- {
		if full[i]++; full[i] < choices[i] {
			return full[:i+1]
		}
	}
	return nil
}

func newWorld(t *testing.T, s scenario) *world {
	w := &world{engine: luatest.New()}
	w.changed = sync.NewCond(&w.mu)
	t.Cleanup(func() { w.engine.Close() })
	names := []string{}
	for name := range s.actors {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := &actor{name: name, run: s.actors[name], w: w, client: w.engine.Client()}
		options := s.cache
		options.Namespace, options.TTL = "shop", 50*time.Second
		cache, err := wildkey.New(a.client, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := cache.Load(context.Background()); err != nil {
			t.Fatal(err)
		}
		a.cache = cache
		a.client.AddHook(hook{a})
		t.Cleanup(func() { a.client.Close() })
		w.actors = append(w.actors, a)
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breach = fmt.Sprintf(format, args...)
}

// play lets the actors go, one step at a time: as the schedule says, and in turns
// behind its end. It returns what was done, and how many could go on at each step.
func (w *world) play(s scenario, schedule []int, depth int) (trace []string, choices []int) {
	w.engine.Do("FLUSHALL")
	w.version, w.invalidated, w.loads, w.lost, w.breach = 0, 0, 0, 0, ""
	if s.begin != nil {
		s.begin(w)
	}
	for _, a := range w.actors {
		options := s.options
		options.Lease = 10 * time.Second
		fetcher, err := New(a.cache, options)
		if err != nil {
			panic(err)
		}
		fetcher.pause = func(context.Context, time.Duration) error {
			a.step("pause")
			if s.actors["d"] != nil { // or nobody would wait long enough for the lease of the dead
				expire(a)
			}
			return nil
		}
		fetcher.sample = func() bool { return true }
		a.fetcher, a.state, a.let = fetcher, "running", make(chan struct{})
		go func() {
			a.run(a)
			a.fetcher.rest()
			w.mu.Lock()
			a.state = "done"
			w.changed.Broadcast()
			w.mu.Unlock()
		}()
	}
	const endless = 400
	for turn := 0; ; turn++ {
		waiting := w.settled()
		w.check()
		if len(waiting) == 0 || w.breach != "" || turn == endless {
			if turn == endless {
				w.breach = "it never ends"
			}
			break
		}
		choices = append(choices, len(waiting))
		chosen := waiting[turn%len(waiting)]
		if len(choices) <= len(schedule) {
			chosen = waiting[schedule[len(choices)-1]]
		} else if len(choices) <= depth {
			chosen = waiting[0]
		}
		w.mu.Lock()
		trace = append(trace, chosen.name+" "+chosen.state)
		chosen.state = "running"
		w.mu.Unlock()
		chosen.let <- struct{}{}
	}
	return trace, choices
}

// settled waits until nobody runs, and returns who can go on.
func (w *world) settled() (waiting []*actor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for slices.ContainsFunc(w.actors, func(a *actor) bool { return a.state == "running" }) {
		w.changed.Wait()
	}
	for _, a := range w.actors {
		if a.state != "done" {
			waiting = append(waiting, a)
		}
	}
	return waiting
}

// check holds what is stored against what has been invalidated.
func (w *world) check() {
	stored, ok := w.engine.Do("GET", "{shop}:"+key.String()).(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	if version, _ := strconv.Atoi(stored); ok && version < w.invalidated && w.breach == "" {
		w.breach = fmt.Sprintf("version %d is stored after version %d was told of", version, w.invalidated)
	}
}

// rest waits until no flight is under way.
func (f *Fetcher) rest() {
	for {
		f.mu.Lock()
		var one *flight
		for _, one = range f.flights {
		}
		f.mu.Unlock()
		if one == nil {
			return
		}
		<-one.done
	}
}
