package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/wildkey/wildkey"
)

// measurements is all that the model is made of. It is kept, so that a test can
// hold the page against it.
type measurements struct {
	Machine  string   `json:"machine"`
	Settings string   `json:"settings"`
	Spaces   []*space `json:"spaces"`
	Fans     []*fan   `json:"fan_outs"`
	Moves    []move   `json:"moves"`
	Forks    []fork   `json:"forks"`
}

// space is a namespace of records of one shape, on a server of its own.
type space struct {
	Records   int     `json:"records"`
	Key       int     `json:"key_bytes"`
	Value     int     `json:"value_bytes"`
	Predicted bool    `json:"predicted"` // not used for fitting
	Memory    float64 `json:"memory_bytes"`
	Grown     float64 `json:"grown_bytes"` // when it had just been loaded, and tables were still moving
	Index     float64 `json:"index_bytes"`

	Costs map[string]*costs `json:"costs"` // of each verb

	server *server
	cache  *wildkey.Cache
	fresh  map[int][][]wildkey.Key // by verb size: what is put, touched and deleted in this round
	rounds int
}

// costs are microseconds a call, round by round.
type costs struct {
	CPU  []float64 `json:"cpu_us"`
	Wall []float64 `json:"wall_us"`
}

func (c *costs) add(sample Sample, calls int) {
	c.CPU = append(c.CPU, micros(sample.ServerCPU)/float64(calls))
	c.Wall = append(c.Wall, micros(sample.Wall)/float64(calls))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// modelVerb is one kind of call. Those of one family differ in the number of
// records of a call, and have their constants in common.
type modelVerb struct {
	family string
	n      int // records, matches, entries or leaps of a call
	calls  int // a round
	run    func(ctx context.Context, s *space, i int) (n int, err error)
}

func (v modelVerb) name() string { return fmt.Sprintf("%s, %d", v.family, v.n) }

// The order matters: what a round puts, it puts again, touches and deletes, so
// that every namespace has as many records after it as before.
func modelVerbs() (verbs []modelVerb) {
	sizes := []struct{ n, calls int }{{1, 1_000}, {10, 120}, {250, 8}}
	for _, size := range sizes {
		n := size.n
		verbs = append(verbs,
			modelVerb{"Put", n, size.calls, func(ctx context.Context, s *space, i int) (int, error) {
				return n, s.cache.Put(ctx, s.recordsOf(s.fresh[n][i])...)
			}},
			modelVerb{"Put again", n, size.calls, func(ctx context.Context, s *space, i int) (int, error) {
				return n, s.cache.Put(ctx, s.recordsOf(s.fresh[n][i])...)
			}},
			modelVerb{"Touch", n, size.calls, func(ctx context.Context, s *space, i int) (int, error) {
				return s.cache.Touch(ctx, ttl, s.fresh[n][i]...)
			}},
			modelVerb{"Delete", n, size.calls, func(ctx context.Context, s *space, i int) (int, error) {
				return s.cache.Delete(ctx, s.fresh[n][i]...)
			}})
	}
	verbs = append(verbs, modelVerb{"Get", 1, 1_500, func(ctx context.Context, s *space, i int) (int, error) {
		_, err := s.cache.Get(ctx, s.some(i, 1)[0])
		return 1, err
	}})
	for _, size := range sizes[1:] {
		many := func(ctx context.Context, s *space, i int) (n int, err error) {
			values, err := s.cache.GetMany(ctx, s.some(i, size.n)...)
			for _, value := range values {
				n += min(1, len(value))
			}
			return n, err
		}
		verbs = append(verbs, modelVerb{"GetMany", size.n, 2 * size.calls, many})
	}
	page := func(n, calls int, pattern func(s *space, i int) string) modelVerb {
		return modelVerb{"Match", n, calls, func(ctx context.Context, s *space, i int) (int, error) {
			page, err := s.cache.Page(ctx, wildkey.MustParsePattern(pattern(s, i)), wildkey.PageOptions{Limit: n})
			return len(page.Entries), err
		}}
	}
	count := func(n, calls int, pattern func(s *space, i int) string) modelVerb {
		return modelVerb{"Count", n, calls, func(ctx context.Context, s *space, i int) (int, error) {
			return s.cache.Count(ctx, wildkey.MustParsePattern(pattern(s, i)))
		}}
	}
	one := func(s *space, i int) string { return fmt.Sprintf("user:%s:session:*", userName(s.user(i))) }
	hundred := func(s *space, i int) string { return fmt.Sprintf("user:%s*:**", userName(s.user(i))[:4]) }
	return append(verbs,
		page(3, 500, one), page(500, 15, hundred),
		count(3, 500, one), count(1_000, 20, hundred),
		// Nothing matches: a chunk of 4 entries, a leap, and so on until the page ends.
		modelVerb{"Leaps", pageReads / 4, 10, func(ctx context.Context, s *space, i int) (int, error) {
			_, err := s.cache.Page(ctx, wildkey.MustParsePattern("user:*:*:z"), wildkey.PageOptions{})
			return pageReads / 4, err
		}})
}

func userName(user int) string { return userKey(user, "", 0)[1] }

// user is one of all, not in any order.
func (s *space) user(i int) int {
	return int(uint64(i+s.rounds*10_007) * 1_000_003 % uint64(s.users()))
}

func (s *space) users() int { return s.Records / recordsPerUser }

// key has the length that the namespace asks for.
func (s *space) key(user int, kind string, serial int) wildkey.Key {
	key := userKey(user, kind, serial)
	key[3] = token(uint64(user)<<32|uint64(serial), s.Key-len("user:::")-len(key[1])-len(kind))
	return key
}

// some are n records that are there, each of another user.
func (s *space) some(i, n int) []wildkey.Key {
	keys := make([]wildkey.Key, n)
	for j := range keys {
		keys[j] = s.key(s.user(i*n+j), "item", j%loadKinds[1].count)
	}
	return keys
}

// recordsOf has them expire at any time within a day, not in the order in which
// they were written.
func (s *space) recordsOf(keys []wildkey.Key) []wildkey.Record {
	records := make([]wildkey.Record, len(keys))
	value := []byte(strings.Repeat("0123456789abcdef", s.Value/16+1)[:s.Value])
	for i, key := range keys {
		life := ttl/2 + time.Duration(rand.Int64N(int64(ttl)))
		records[i] = wildkey.Record{Key: key, Value: value, TTL: life}
	}
	return records
}

// renew makes the keys that the next round puts.
func (s *space) renew(verbs []modelVerb) {
	s.rounds++
	s.fresh = map[int][][]wildkey.Key{}
	for _, verb := range verbs {
		if verb.family != "Put" {
			continue
		}
		for i := range verb.calls {
			keys := make([]wildkey.Key, verb.n)
			for j := range keys {
				keys[j] = s.key(s.user(i*verb.n+j), "fresh", i)
			}
			s.fresh[verb.n] = append(s.fresh[verb.n], keys)
		}
	}
}

// open starts the server of a namespace and fills it.
func (s *space) open(ctx context.Context, b *bench) (err error) {
	log.Printf("loading %s records, keys of %d bytes, values of %d", thousands(s.Records), s.Key, s.Value)
	if s.server, err = b.server(); err != nil {
		return err
	}
	// Pages of 500 are to be of 500, whatever the values.
	if s.cache, err = wildkey.New(s.server.client, wildkey.Options{Namespace: namespace, CallBytes: 16 << 20}); err != nil {
		return err
	}
	if err := s.cache.Load(ctx); err != nil {
		return err
	}
	before, err := s.server.info(ctx, "memory", "used_memory")
	if err != nil {
		return err
	}
	if err := fill(ctx, s.cache, s.users(), func(i int) []wildkey.Record {
		user := int(uint64(i) * 1_000_003 % uint64(s.users())) // in no order
		var keys []wildkey.Key
		for _, kind := range loadKinds {
			for serial := range kind.count {
				keys = append(keys, s.key(user, kind.kind, serial))
			}
		}
		return s.recordsOf(keys)
	}); err != nil {
		return err
	}
	if err := s.server.control.Do(ctx, "SLOWLOG", "RESET").Err(); err != nil {
		return err
	}
	grown, err := s.server.info(ctx, "memory", "used_memory")
	if err != nil {
		return err
	}
	if err := settle(ctx, s.server.control); err != nil {
		return err
	}
	used, err := s.server.info(ctx, "memory", "used_memory")
	if err != nil {
		return err
	}
	usage, err := indexUsage(ctx, s.server.control)
	s.Grown, s.Memory, s.Index = grown-before, used-before, float64(usage)
	return err
}

// round measures every verb in each of the namespaces, verb by verb, so that a
// slow spell of the machine falls on all of them alike.
func round(ctx context.Context, verbs []modelVerb, spaces []*space) error {
	for _, s := range spaces {
		s.renew(verbs)
	}
	for _, verb := range verbs {
		for _, s := range spaces {
			sample, err := measure(ctx, s.server, func(ctx context.Context) (int, error) {
				for i := range verb.calls {
					n, err := verb.run(ctx, s, i)
					if err == nil && n != verb.n {
						err = fmt.Errorf("it met %d", n)
					}
					if err != nil {
						return i, fmt.Errorf("%s, %s records: %w", verb.name(), thousands(s.Records), err)
					}
				}
				return verb.calls, nil
			})
			if err != nil {
				return err
			}
			if s.Costs[verb.name()] == nil {
				s.Costs[verb.name()] = &costs{}
			}
			s.Costs[verb.name()].add(sample, verb.calls)
		}
	}
	return nil
}

// runModel measures all that the model is fitted to and held against, and writes
// scale.json and the tables of the page.
func (b *bench) runModel(ctx context.Context, out, page string) (err error) {
	m, verbs := &measurements{Machine: b.machine()}, modelVerbs()
	if b.scaleName == "quick" {
		for i := range verbs {
			verbs[i].calls = max(1, verbs[i].calls/20)
		}
	}
	sized, shaped := b.spaces()
	m.Spaces = slices.Concat(sized, shaped)
	for _, s := range m.Spaces {
		if err := s.open(ctx, b); err != nil {
			return err
		}
	}
	held, err := b.resident(ctx)
	if err != nil {
		return err
	}
	for n := range b.scale.rounds {
		log.Printf("round %d of %d", n+1, b.scale.rounds)
		if err := round(ctx, verbs, m.Spaces); err != nil {
			return err
		}
	}
	for _, s := range shaped {
		b.stop(s.server)
	}
	if m.Forks, err = forks(ctx, sized); err != nil {
		return err
	}
	largest := sized[len(sized)-1]
	b.stop(largest.server)
	if m.Moves, err = b.moves(ctx, sized[:len(sized)-1]); err != nil {
		return err
	}
	for _, s := range sized {
		b.stop(s.server)
	}
	if m.Fans, err = b.fanOut(ctx); err != nil {
		return err
	}
	m.Settings = fmt.Sprintf("scale %s, %d rounds, %s in all, %s MB of servers at once", b.scaleName, b.scale.rounds,
		time.Since(b.started).Round(time.Second), number(held/1e6))
	return m.write(out, page)
}

// resident is what all servers that run take of the machine's memory.
func (b *bench) resident(ctx context.Context) (sum float64, err error) {
	for _, s := range b.servers {
		bytes, err := s.info(ctx, "memory", "used_memory_rss")
		if err != nil {
			return 0, err
		}
		sum += bytes
	}
	return sum, nil
}

// modelValue is the length of values where it does not vary.
const modelValue = 64

// spaces are namespaces of one shape and many sizes, and of one size and many
// shapes.
func (b *bench) spaces() (sized, shaped []*space) {
	add := func(records, key, value int, predicted bool) *space {
		return &space{Records: records, Key: key, Value: value, Predicted: predicted, Costs: map[string]*costs{}}
	}
	for _, records := range b.scale.fit {
		sized = append(sized, add(records, keyLength, modelValue, false))
	}
	n := b.scale.variant
	return append(sized, add(b.scale.predicted, keyLength, modelValue, true)), []*space{
		add(n, 90, modelValue, false), add(n, 200, modelValue, false),
		add(n, keyLength, 16, false), add(n, keyLength, 1_024, false), add(n/2, keyLength, 4_096, false),
		add(2*n, 120, 512, true),
	}
}

// fill puts what of gives for each number below count.
func fill(ctx context.Context, cache *wildkey.Cache, count int, of func(i int) []wildkey.Record) error {
	const workers = 3
	failures := make(chan error)
	for worker := range workers {
		records := func(yield func(wildkey.Record, error) bool) {
			for i := worker; i < count; i += workers {
				for _, record := range of(i) {
					if !yield(record, nil) {
						return
					}
				}
			}
		}
		go func() {
			_, err := cache.PutEach(ctx, records, nil)
			failures <- err
		}()
	}
	var failed error
	for range workers {
		if err := <-failures; err != nil {
			failed = err
		}
	}
	return failed
}

// logarithm is the number of doublings to n.
func logarithm(n int) float64 { return math.Log2(float64(n)) }
