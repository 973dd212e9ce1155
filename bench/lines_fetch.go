package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	goredis "github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
)

// runFetch measures package fetch: one record that many ask for when it has expired,
// and what its leases cost each verb when nobody else asks.
func runFetch(ctx context.Context, b *bench) error {
	for _, measure := range []func(context.Context) error{b.raceCrowds, b.raceMisses, b.raceHits, b.raceVoiding} {
		if err := measure(ctx); err != nil {
			return err
		}
		b.stopServers()
	}
	return nil
}

// The callers of a crowd, and what they wait for.
const (
	crowdProcesses = 10
	crowdCallers   = 100 // of each process
	crowdLoad      = 20 * time.Millisecond
)

// source is where records are loaded from.
type source struct {
	takes time.Duration
	loads atomic.Int64
}

func (s *source) load() []byte {
	s.loads.Add(1)
	time.Sleep(s.takes)
	return value
}

// A fetching returns the value of a key, from the cache or from its source.
type fetching func(ctx context.Context, key wildkey.Key) ([]byte, error)

// ways are those in which a process may fetch. All callers of the process share what
// each of them returns.
var ways = []struct {
	name  string
	begin func(ctx context.Context, client *redis.Client, from *source) (fetching, error)
}{
	{nameFetch, fetchWildkey},
	{nameUnleased, fetchUnleased},
	{nameOnce, fetchOnce},
	{nameSingleflight, fetchSingleflight},
}

// raceCrowds has the same record expire under the callers of several processes. Each
// round is one expiry, which comes before what is measured.
func (b *bench) raceCrowds(ctx context.Context) error {
	s, err := b.server()
	if err != nil {
		return err
	}
	// A process has a client to itself, and the callers of all ways take turns with it.
	clients := make([]*redis.Client, crowdProcesses)
	for i := range clients {
		clients[i] = s.anotherClient()
		defer clients[i].Close()
	}
	l := line{
		name: "fetch-crowd",
		title: fmt.Sprintf("a record that has expired, and %s callers at once",
			thousands(crowdProcesses*crowdCallers)),
		note: fmt.Sprintf("%d processes with a client each, of go-redis's own pool size, and %d callers in each of them; "+
			"a load takes %v. A record here is a call. Commands are those of INFO commandstats, with what scripts call. "+
			"rueidisaside is not among them: its module was not to be had.", crowdProcesses, crowdCallers, crowdLoad),
		metrics: []metric{loadsDone, waitMedianMs, waitP99Ms, commandsEach, tripsEach, cpuUs},
		records: crowdProcesses * crowdCallers,
		rounds:  4*b.rounds + 1,
	}
	for _, way := range ways {
		c := crowd{key: wildkey.K("product", "hot"), from: &source{takes: crowdLoad}}
		for _, client := range clients {
			process, err := way.begin(ctx, client, c.from)
			if err != nil {
				return err
			}
			c.processes = append(c.processes, process)
		}
		l.contenders = append(l.contenders, contender{
			name: way.name, server: s,
			prepare: func(ctx context.Context) error { return c.expire(ctx, s.control) },
			run:     c.ask,
			tell:    c.tell,
		})
	}
	return b.race(ctx, l)
}

// crowd is the callers of several processes, who all ask for one record.
type crowd struct {
	key       wildkey.Key
	from      *source
	processes []fetching
	waits     []time.Duration // of the last time that they asked, in ascending order
}

// expire lets the record expire, if there is one.
func (c *crowd) expire(ctx context.Context, control *redis.Client) error {
	name := redisName(c.key)
	if err := control.PExpire(ctx, name, time.Millisecond).Err(); err != nil {
		return err
	}
	time.Sleep(5 * time.Millisecond)
	n, err := control.Exists(ctx, name).Result()
	if err == nil && n > 0 {
		err = errors.New("the record has not expired")
	}
	c.from.loads.Store(0)
	return err
}

// ask has all callers ask at once, and returns how many they are.
func (c *crowd) ask(ctx context.Context) (int, error) {
	c.waits = make([]time.Duration, len(c.processes)*crowdCallers)
	begin := make(chan struct{})
	var callers errgroup.Group
	for i := range c.waits {
		process := c.processes[i%len(c.processes)]
		callers.Go(func() error {
			<-begin
			start := time.Now()
			got, err := process(ctx, c.key)
			c.waits[i] = time.Since(start)
			return isValue(got, err)
		})
	}
	close(begin)
	err := callers.Wait()
	slices.Sort(c.waits)
	return len(c.waits), err
}

func (c *crowd) tell(sample *Sample) {
	sample.Loads = int(c.from.loads.Load())
	sample.WaitMedian, sample.WaitP99 = c.waits[len(c.waits)/2], c.waits[len(c.waits)*99/100]
}

// isValue returns an error unless this is the value of every record.
func isValue(got []byte, err error) error {
	if err == nil && !bytes.Equal(got, value) {
		err = fmt.Errorf("the value is %q", got)
	}
	return err
}

// raceMisses measures what a miss costs where nobody else asks, and a load nothing.
func (b *bench) raceMisses(ctx context.Context) error {
	l := line{
		name:    "fetch-miss",
		title:   "a record that is not there is loaded and put, by one caller",
		note:    fmt.Sprintf("Into %s records. The load itself takes no time.", thousands(b.scale.base)),
		metrics: []metric{wallUs, cpuUs, tripsEach, commandsEach, sent, received, allocs},
		records: b.scale.puts,
	}
	keys := freshKeys(4, b.scale.base, b.scale.puts)
	for _, way := range ways {
		s, err := b.server()
		if err != nil {
			return err
		}
		from := new(source)
		process, err := way.begin(ctx, s.client, from)
		if err != nil {
			return err
		}
		fill := putSet(s.client)
		if way.name == nameFetch || way.name == nameUnleased {
			cache, err := newCache(ctx, s.client, namespace)
			if err != nil {
				return err
			}
			fill = putWildkey(cache)
		}
		if err := load(ctx, deepKeys(4, 0, b.scale.base), fill); err != nil {
			return err
		}
		miss := func(ctx context.Context, keys []wildkey.Key) error {
			before := from.loads.Load()
			for _, key := range keys {
				if err := isValue(process(ctx, key)); err != nil {
					return err
				}
			}
			return met(keys, int(from.loads.Load()-before), nil)
		}
		l.contenders = append(l.contenders, writing{way.name, s, miss, fill}.inCalls(1, keys, false))
	}
	return b.race(ctx, l)
}

// raceHits measures what fetching costs where the record is there. All contenders read
// the same records of one server.
func (b *bench) raceHits(ctx context.Context) error {
	s, cache, err := b.filled(ctx)
	if err != nil {
		return err
	}
	keys := b.keysToGet()
	names := redisNames(keys)
	l := line{
		name:  "fetch-hit",
		title: "a hit: get of one record that is there",
		note: fmt.Sprintf("Of %s records. With RefreshAhead one hit in a hundred, by chance, asks for the time left, in the "+
			"background; none of the records is near its end.", thousands(b.scale.base)),
		metrics: []metric{wallUs, cpuUs, tripsEach, sent, received, allocs}, records: len(keys),
		rounds: 4*b.rounds + 1, // as for get
	}
	for _, own := range []struct {
		name    string
		options fetch.Options
	}{{nameFetch, fetch.Options{}}, {nameAhead, fetch.Options{RefreshAhead: 0.1}}} {
		fetcher, err := fetch.New(cache, own.options)
		if err != nil {
			return err
		}
		l.contenders = append(l.contenders, contender{name: own.name, server: s, run: each(len(keys),
			func(ctx context.Context, i int) error {
				_, err := fetcher.Get(ctx, keys[i], loadNothing)
				return err
			})})
	}
	l.contenders = append(l.contenders,
		contender{name: nameWildkey, server: s, run: each(len(keys), func(ctx context.Context, i int) error {
			_, err := cache.Get(ctx, keys[i])
			return err
		})},
		contender{name: nameGet, server: s, run: each(len(keys), func(ctx context.Context, i int) error {
			_, err := s.client.Get(ctx, names[i]).Bytes()
			return err
		})})
	return b.race(ctx, l)
}

// loadNothing is the Load of what is there.
func loadNothing(context.Context) (fetch.Loaded, error) {
	return fetch.Loaded{}, errors.New("a record that was put is not there")
}

// raceVoiding measures what it costs a Fetcher that its Put and Delete void leases,
// where there is none.
func (b *bench) raceVoiding(ctx context.Context) error {
	var puts, deletes []writing
	for _, name := range []string{nameFetch, nameWildkey} {
		s, err := b.server()
		if err != nil {
			return err
		}
		cache, err := newCache(ctx, s.client, namespace)
		if err != nil {
			return err
		}
		fetcher, err := fetch.New(cache, fetch.Options{})
		if err != nil {
			return err
		}
		fill := putWildkey(cache)
		put, remove := fill, deleteWildkey(cache)
		if name == nameFetch {
			put, remove = putRecords(fetcher.Put), deleteFetch(fetcher)
		}
		puts = append(puts, writing{name, s, put, fill})
		deletes = append(deletes, writing{name, s, remove, fill})
		if err := load(ctx, deepKeys(4, 0, b.scale.base), fill); err != nil {
			return err
		}
	}
	into := fmt.Sprintf("Into %s records. Through a Fetcher the same call voids the lease, of which there is none.",
		thousands(b.scale.base))
	for _, l := range []struct {
		name, title, note string
		batch             int
		all               []writing
		keys              roundKeys
		refill            bool
	}{
		{"fetch-put-1", "put of one new record, voiding leases", into, 1, puts,
			freshKeys(4, b.scale.base, b.scale.puts), false},
		{"fetch-put-1-over", "put of one record over an old one, voiding leases", "", 1, puts, b.oldKeys, false},
		{"fetch-put-10-over", "put of 10 records over old ones in one call, voiding leases", "", 10, puts, b.oldKeys, false},
		{"fetch-delete-1", "delete of one record, voiding leases", "", 1, deletes, b.oldKeys, true},
		{"fetch-delete-10", "delete of 10 records in one call, voiding leases", "", 10, deletes, b.oldKeys, true},
	} {
		line := line{
			name: l.name, title: l.title, note: l.note, records: b.scale.puts,
			metrics: []metric{wallUs, cpuUs, trips, commandsEach, sent, received, allocs},
		}
		for _, w := range l.all {
			line.contenders = append(line.contenders, w.inCalls(l.batch, l.keys, l.refill))
		}
		if err := b.race(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

func deleteFetch(fetcher *fetch.Fetcher) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		n, err := fetcher.Delete(ctx, keys...)
		return met(keys, n, err)
	}
}

func fetchWildkey(ctx context.Context, client *redis.Client, from *source) (fetching, error) {
	cache, err := newCache(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	fetcher, err := fetch.New(cache, fetch.Options{})
	if err != nil {
		return nil, err
	}
	load := func(context.Context) (fetch.Loaded, error) { return fetch.Loaded{Value: from.load()}, nil }
	return func(ctx context.Context, key wildkey.Key) ([]byte, error) { return fetcher.Get(ctx, key, load) }, nil
}

// fetchUnleased has whoever misses load, as programs do that think of nothing else.
func fetchUnleased(ctx context.Context, client *redis.Client, from *source) (fetching, error) {
	cache, err := newCache(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, key wildkey.Key) ([]byte, error) {
		got, err := cache.Get(ctx, key)
		if !errors.Is(err, wildkey.ErrNotFound) {
			return got, err
		}
		got = from.load()
		return got, cache.Put(ctx, wildkey.Record{Key: key, Value: got})
	}, nil
}

func fetchOnce(_ context.Context, client *redis.Client, from *source) (fetching, error) {
	cache := goredis.New(&goredis.Options{Redis: client})
	return func(ctx context.Context, key wildkey.Key) (got []byte, err error) {
		err = cache.Once(&goredis.Item{
			Ctx: ctx, Key: redisName(key), Value: &got, TTL: ttl,
			Do: func(*goredis.Item) (any, error) { return from.load(), nil },
		})
		return got, err
	}, nil
}

func fetchSingleflight(_ context.Context, client *redis.Client, from *source) (fetching, error) {
	var calls singleflight.Group
	return func(ctx context.Context, key wildkey.Key) ([]byte, error) {
		name := redisName(key)
		got, err, _ := calls.Do(name, func() (any, error) {
			got, err := client.Get(ctx, name).Bytes()
			if !errors.Is(err, redis.Nil) {
				return got, err
			}
			got = from.load()
			return got, client.Set(ctx, name, got, ttl).Err()
		})
		if err != nil {
			return nil, err
		}
		return got.([]byte), nil
	}, nil
}
