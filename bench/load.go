package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/invariant"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/writer"
)

const (
	loadClients  = 64
	loadSegments = 2 // user:000042 chooses the shard

	// What is written lives from loadLeast on, a quarter of it no longer than
	// loadShort, so that records expire while the load goes on.
	loadLeast = 2 * time.Second
	loadShort = 10 * time.Second

	// What is shorter is not worth a line as the longest call under load.
	loadSlow = time.Millisecond
	// For so long, at the end, every call goes to the slow log.
	censusTime = time.Second
)

// place is where a load runs.
type place struct {
	name    string
	masters int // of a cluster; 0: one server without one
	shards  int
}

var places = []place{
	{"one server", 0, 1},
	{"three masters, 1 shard", 3, 1},
	{"three masters, 48 shards", 3, 48},
}

// loadRun is a load in one place, and what came of it.
type loadRun struct {
	place
	users  int
	length time.Duration
	nodes  []*server
	client redis.UniversalClient
	cache  *wildkey.Cache
	writer *writer.Writer

	loaded   int // records after the loading
	loadedIn time.Duration
	stale    *staleness
	narrowly bool // no call asks all shards

	mu       sync.Mutex
	errors   []error
	counting *tally // what clients add to when they end; nil: nothing
	long     map[string]longUse

	all, narrow *tally                   // of every verb, and of those that do not ask all shards
	longest     map[string]time.Duration // of each script, by the slow log
	scripts     map[string]commandUse    // of each script, by the slow log of the census
	report      invariant.Report
	holds       []holding
	indexBytes  int64
}

// runLoad runs the load in all places and writes load.md.
func (b *bench) runLoad(ctx context.Context, out string) error {
	var runs []*loadRun
	var failed error
	for _, place := range places {
		log.Printf("== %s", place.name)
		l := &loadRun{place: place, users: b.scale.loadUsers, length: b.scale.loadTime}
		err := l.do(ctx, b.program)
		if l.stop(); err != nil {
			return fmt.Errorf("%s: %w", place.name, err)
		}
		runs = append(runs, l)
		failed = errors.Join(failed, l.verdict())
	}
	b.settings = fmt.Sprintf("%s in all", time.Since(b.started).Round(time.Second))
	if err := b.writeLoad(out, runs); err != nil {
		return err
	}
	return failed
}

func (l *loadRun) do(ctx context.Context, program redisserver.Program) error {
	if err := l.start(ctx, program); err != nil {
		return err
	}
	if err := l.fill(ctx); err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	if err := l.drive(ctx); err != nil {
		return err
	}
	log.Printf("%s: %d calls, %d errors; checking the invariant", l.name, l.all.calls, len(l.errors))
	return l.check(ctx)
}

// start starts the servers.
func (l *loadRun) start(ctx context.Context, program redisserver.Program) error {
	options := []string{"--slowlog-max-len", "200000", "--slowlog-log-slower-than", fmt.Sprint(loadSlow.Microseconds())}
	var addrs []string
	if l.masters == 0 {
		running, err := program.Run(options...)
		if err != nil {
			return err
		}
		l.nodes, addrs = []*server{attach(running)}, []string{running.Addr}
	} else {
		cluster, err := program.RunCluster(l.masters, 0, options...)
		if err != nil {
			return err
		}
		for _, running := range cluster.Nodes {
			l.nodes = append(l.nodes, attach(running))
		}
		for _, node := range l.nodes {
			if err := untilServes(ctx, node.control); err != nil {
				return err
			}
		}
		addrs = cluster.Addrs()
	}
	l.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: addrs, IsClusterMode: l.masters > 0, PoolSize: 2 * loadClients,
		ReadTimeout: time.Minute, PoolTimeout: time.Minute,
	})
	var err error
	l.cache, err = wildkey.New(l.client, wildkey.Options{
		Namespace: namespace, Shards: l.shards, ShardSegments: loadSegments,
	})
	if err != nil {
		return err
	}
	l.stale = &staleness{client: l.client, layout: l.cache.Layout()}
	l.long = map[string]longUse{}
	return nil
}

func (l *loadRun) stop() {
	if l.writer != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = l.writer.Close(ctx) // what failed has been told, where the run has come so far
	}
	if l.client != nil {
		l.client.Close()
	}
	for _, node := range l.nodes {
		node.stop()
	}
}

// loadKinds are the records of each user.
var loadKinds = []struct {
	kind  string
	count int
}{{"session", 3}, {"item", 7}}

const recordsPerUser = 10

func userRecords(user int) []wildkey.Key {
	var keys []wildkey.Key
	for _, kind := range loadKinds {
		for serial := range kind.count {
			keys = append(keys, userKey(user, kind.kind, serial))
		}
	}
	return keys
}

// fill writes all records of all users, with lives from a half to ten times the
// length of the load.
func (l *loadRun) fill(ctx context.Context) error {
	if err := l.cache.Load(ctx); err != nil {
		return err
	}
	start := time.Now()
	err := fill(ctx, l.cache, l.users, func(user int) []wildkey.Record {
		random, records := rand.New(rand.NewPCG(1, uint64(user))), make([]wildkey.Record, 0, recordsPerUser)
		for _, key := range userRecords(user) {
			life := l.length/2 + time.Duration(random.Int64N(int64(l.length)*19/2))
			records = append(records, wildkey.Record{Key: key, Value: value, TTL: life})
		}
		return records
	})
	if err != nil {
		return err
	}
	l.loadedIn = time.Since(start)
	l.loaded, err = l.countRecords(ctx)
	log.Printf("%s: %d records loaded in %v", l.name, l.loaded, l.loadedIn.Round(time.Second))
	return err
}

// countRecords is how many keys the nodes have, less the indexes.
func (l *loadRun) countRecords(ctx context.Context) (total int, err error) {
	for _, node := range l.nodes {
		size, err := node.control.DBSize(ctx).Result()
		if err != nil {
			return 0, err
		}
		total += int(size)
	}
	return total - l.shards, nil
}

// drive has the clients call for the length of the load; for a quarter of it
// without what asks all shards; for another with the long verbs beside them; and
// for the census.
func (l *loadRun) drive(ctx context.Context) (err error) {
	l.writer = writer.New(l.cache, writer.Options{
		OnError: func(f writer.Failure) { l.failed("Writer", f.Err) },
	})
	if err := l.resetSlow(ctx, loadSlow); err != nil {
		return err
	}
	if l.all, err = l.count(ctx, l.length); err != nil {
		return err
	}
	slow, err := l.slowCalls(ctx)
	if err != nil {
		return err
	}
	l.longest = map[string]time.Duration{}
	for name, durations := range slow {
		l.longest[name] = slices.Max(durations)
	}
	if err := l.weigh(ctx); err != nil {
		return err
	}
	l.narrowly = true
	if l.narrow, err = l.count(ctx, l.length/4); err != nil {
		return err
	}
	l.narrowly = false
	if err := l.clients(ctx, time.Now().Add(l.length/4), longVerbs); err != nil {
		return err
	}
	if err := l.census(ctx); err != nil {
		return err
	}
	if err := l.writer.Close(ctx); err != nil {
		l.failed("Writer.Close", err)
	}
	return nil
}

// tally is what clients have done in a while, and what it took of the servers.
type tally struct {
	calls, records int
	latencies      map[string]*hdrhistogram.Histogram
	took           time.Duration
	cpu            []time.Duration       // of each node
	commands       map[string]commandUse // of all nodes, by INFO commandstats
}

// count has the clients call for a while, and says what they have done.
func (l *loadRun) count(ctx context.Context, length time.Duration) (*tally, error) {
	t := &tally{latencies: map[string]*hdrhistogram.Histogram{}, commands: map[string]commandUse{}}
	before, err := l.usage(ctx)
	if err != nil {
		return nil, err
	}
	l.counting = t
	start := time.Now()
	err = l.clients(ctx, start.Add(length), nil)
	t.took, l.counting = time.Since(start), nil
	if err != nil {
		return nil, err
	}
	after, err := l.usage(ctx)
	if err != nil {
		return nil, err
	}
	t.account(before, after)
	return t, nil
}

// clients runs all clients until then, verbs beside them, and the sampling of
// stale entries.
func (l *loadRun) clients(ctx context.Context, until time.Time, beside []longVerb) error {
	var workers sync.WaitGroup
	for id := range loadClients {
		workers.Add(1)
		go func() {
			defer workers.Done()
			c := newLoadClient(l, uint64(id))
			for ctx.Err() == nil && time.Now().Before(until) {
				c.call(ctx)
			}
			l.merge(c)
		}()
	}
	for _, verb := range beside {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for ctx.Err() == nil && time.Now().Before(until) {
				l.callLong(ctx, verb)
			}
		}()
	}
	sampled := make(chan error)
	sampling, done := context.WithCancel(ctx)
	go func() { sampled <- l.stale.watch(sampling) }()
	workers.Wait()
	done()
	return errors.Join(<-sampled, ctx.Err())
}

// merge adds what a client has measured.
func (l *loadRun) merge(c *loadClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counting == nil {
		return
	}
	l.counting.calls += c.calls
	l.counting.records += c.records
	for name, histogram := range c.latencies {
		if l.counting.latencies[name] == nil {
			l.counting.latencies[name] = newHistogram()
		}
		l.counting.latencies[name].Merge(histogram)
	}
}

// callLong calls a verb that goes through the whole namespace.
func (l *loadRun) callLong(ctx context.Context, verb longVerb) {
	records, err := verb.call(ctx, l)
	if err != nil {
		l.failed(verb.name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	use := l.long[verb.name]
	l.long[verb.name] = longUse{calls: use.calls + 1, records: use.records + records}
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (10 * time.Minute).Microseconds(), 3)
}

// failed notes an error of a call: none is expected.
func (l *loadRun) failed(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, fmt.Errorf("%s: %w", what, err))
}

// check holds the keyspace against the invariant, when nobody writes.
func (l *loadRun) check(ctx context.Context) (err error) {
	if cluster, ok := l.client.(*redis.ClusterClient); ok {
		l.report, err = invariant.CheckCluster(ctx, cluster)
		return err
	}
	l.report, err = invariant.Check(ctx, l.nodes[0].control)
	return err
}

// verdict is what makes the command fail.
func (l *loadRun) verdict() error {
	var found []error
	some := func(format string, n int, examples any) {
		if n > 0 {
			found = append(found, fmt.Errorf("%s: "+format, l.name, n, examples))
		}
	}
	some("%d calls failed: %v", len(l.errors), l.errors[:min(3, len(l.errors))])
	some("%d breaches of the invariant: %q", len(l.report.Breaches), l.report.Breaches[:min(3, len(l.report.Breaches))])
	if l.report.Records == 0 {
		found = append(found, fmt.Errorf("%s: no record is left to check", l.name))
	}
	if mean := l.stale.mean(); len(l.stale.shares) == 0 || mean > staleMost {
		found = append(found, fmt.Errorf("%s: of %d samples of index entries %.0f%% were stale, more than %.0f%%",
			l.name, len(l.stale.shares), 100*mean, 100*staleMost))
	}
	for _, verb := range loadMix {
		if l.all.latencies[verb.name] == nil {
			found = append(found, fmt.Errorf("%s: %s was not called", l.name, verb.name))
		}
	}
	if l.long["Reindex"].records == 0 {
		found = append(found, fmt.Errorf("%s: Reindex has met no record", l.name))
	}
	return errors.Join(found...)
}
