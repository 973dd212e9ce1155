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
	// For so long, after what is measured, every call goes to the slow log.
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
	writer *wildkey.Writer

	garbage    *garbage
	recording  bool // else calls are made and not counted
	mu         sync.Mutex
	latencies  map[string]*hdrhistogram.Histogram
	calls      int
	records    int
	errors     []error
	took       time.Duration // the measured part
	loaded     int           // records after the loading
	loadedIn   time.Duration
	report     invariant.Report
	use        []nodeUse                // of each node
	commands   map[string]commandUse    // of all nodes, by INFO commandstats
	longest    map[string]time.Duration // of each script, by the slow log
	scripts    map[string]commandUse    // of each script, by the slow log of the census
	indexBytes int64
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
	if err := l.start(program); err != nil {
		return err
	}
	if err := l.fill(ctx); err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	if err := l.drive(ctx); err != nil {
		return err
	}
	log.Printf("%s: %d calls, %d errors; checking the invariant", l.name, l.calls, len(l.errors))
	return l.check(ctx)
}

// start starts the servers.
func (l *loadRun) start(program redisserver.Program) error {
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
		for _, node := range cluster.Nodes {
			l.nodes = append(l.nodes, attach(node))
		}
		addrs = cluster.Addrs()
	}
	l.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: addrs, IsClusterMode: l.masters > 0, PoolSize: 2 * loadClients,
		ReadTimeout: time.Minute, PoolTimeout: time.Minute,
	})
	var err error
	l.cache, err = wildkey.New(l.client, wildkey.Options{Namespace: namespace, Shards: l.shards, ShardSegments: loadSegments})
	l.garbage = newGarbage(l.client, l.shards)
	l.latencies = map[string]*hdrhistogram.Histogram{}
	return err
}

func (l *loadRun) stop() {
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
	const workers = 3
	if err := l.cache.Load(ctx); err != nil {
		return err
	}
	start, failures := time.Now(), make(chan error)
	for worker := range workers {
		random := rand.New(rand.NewPCG(1, uint64(worker)))
		go func() {
			_, err := l.cache.PutEach(ctx, func(yield func(wildkey.Record) bool) {
				for user := worker; user < l.users; user += workers {
					for _, key := range userRecords(user) {
						life := l.length/2 + time.Duration(random.Int64N(int64(l.length)*19/2))
						if !yield(wildkey.Record{Key: key, Value: value, TTL: life}) {
							return
						}
					}
				}
			}, nil)
			failures <- err
		}()
	}
	var failed error
	for range workers {
		failed = errors.Join(failed, <-failures)
	}
	if failed != nil {
		return failed
	}
	l.loadedIn = time.Since(start)
	records, err := l.countRecords(ctx)
	l.loaded = records
	log.Printf("%s: %d records loaded in %v", l.name, records, l.loadedIn.Round(time.Second))
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
	return total - 2*l.shards, nil
}

// drive has the clients call for the length of the load, and for the census.
func (l *loadRun) drive(ctx context.Context) error {
	l.writer = wildkey.NewWriter(l.cache, wildkey.WriterOptions{
		OnError: func(err error, _ []wildkey.Record, _ []wildkey.Key) { l.failed("Writer", err) },
	})
	before, err := l.usage(ctx)
	if err != nil {
		return err
	}
	if err := l.resetSlow(ctx, loadSlow); err != nil {
		return err
	}
	start := time.Now()
	l.recording = true
	err = l.clients(ctx, start.Add(l.length))
	l.took = time.Since(start)
	if err != nil {
		return err
	}
	after, err := l.usage(ctx)
	if err != nil {
		return err
	}
	l.account(before, after)
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
	l.recording = false
	if err := l.census(ctx); err != nil {
		return err
	}
	if err := l.writer.Close(); err != nil {
		l.failed("Writer.Close", err)
	}
	return nil
}

// clients runs all clients until then, the two long verbs from the middle on,
// and the sampling of garbage.
func (l *loadRun) clients(ctx context.Context, until time.Time) error {
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
	if l.recording {
		workers.Add(1)
		go func() {
			defer workers.Done()
			c := newLoadClient(l, loadClients)
			select {
			case <-time.After(time.Until(until) / 2):
				c.maintain(ctx)
			case <-ctx.Done():
			}
			l.merge(c)
		}()
	}
	sampled := make(chan error)
	sampling, done := context.WithCancel(ctx)
	go func() { sampled <- l.garbage.watch(sampling) }()
	workers.Wait()
	done()
	return errors.Join(<-sampled, ctx.Err())
}

// merge adds what a client has measured.
func (l *loadRun) merge(c *loadClient) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.recording {
		return
	}
	l.calls += c.calls
	l.records += c.records
	for name, histogram := range c.latencies {
		if l.latencies[name] == nil {
			l.latencies[name] = newHistogram()
		}
		l.latencies[name].Merge(histogram)
	}
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
	some("%d samples of garbage above the bound: %v", len(l.garbage.above), l.garbage.above[:min(3, len(l.garbage.above))])
	if l.report.Records == 0 {
		found = append(found, fmt.Errorf("%s: no record is left to check", l.name))
	}
	if l.garbage.due == 0 {
		found = append(found, fmt.Errorf("%s: no record has expired: nothing says that garbage is bounded", l.name))
	}
	if l.garbage.judged == 0 || l.garbage.late > l.garbage.judged {
		found = append(found, fmt.Errorf("%s: %d samples of garbage were judged, %d came too late for it",
			l.name, l.garbage.judged, l.garbage.late))
	}
	for _, verb := range slices.Concat(loadMix, longVerbs) {
		if l.latencies[verb.name] == nil {
			found = append(found, fmt.Errorf("%s: %s was not called", l.name, verb.name))
		}
	}
	return errors.Join(found...)
}
