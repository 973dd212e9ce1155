package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/admin"
)

// loadVerb is one of the calls that clients make, with its share of a thousand.
type loadVerb struct {
	name  string
	share int
	wide  bool // asks all shards
	call  func(ctx context.Context, c *loadClient) (records int, err error)
}

// loadMix is a cache that is read more often than written, with every verb of
// it. A user is one of all, by chance.
var loadMix = []loadVerb{
	{"Get", 380, false, func(ctx context.Context, c *loadClient) (int, error) {
		_, err := c.cache.Get(ctx, c.key())
		return 1, ignore(err, wildkey.ErrNotFound)
	}},
	{"GetMany, 10 of a user", 40, false, func(ctx context.Context, c *loadClient) (int, error) {
		_, err := c.cache.GetMany(ctx, userRecords(c.user())...)
		return recordsPerUser, err
	}},
	{"Put, 1", 200, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.put(ctx, wildkey.Condition{}, c.key())
	}},
	{"Put, 10 of a user", 30, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.put(ctx, wildkey.Condition{}, userRecords(c.user())...)
	}},
	{"Put, if absent", 20, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.put(ctx, wildkey.Absent(), c.key())
	}},
	{"Put, if equal", 20, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.put(ctx, wildkey.Equal(value), c.key())
	}},
	{"Writer.Put, 1", 40, false, func(ctx context.Context, c *loadClient) (int, error) {
		return 1, c.writer.Put(ctx, wildkey.Record{Key: c.key(), Value: value, TTL: c.life()})
	}},
	{"Touch, 1", 60, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.Touch(ctx, c.life(), c.key())
	}},
	{"Delete, 1", 30, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.Delete(ctx, c.key())
	}},
	{"Take", 20, false, func(ctx context.Context, c *loadClient) (int, error) {
		_, err := c.cache.Take(ctx, c.key())
		return 1, ignore(err, wildkey.ErrNotFound)
	}},
	{"Collect, sessions of a user", 80, false, func(ctx context.Context, c *loadClient) (int, error) {
		entries, err := c.cache.Collect(ctx, c.pattern("user:%06d:session:*"))
		return len(entries), err
	}},
	{"MatchKeys, of a user", 20, false, func(ctx context.Context, c *loadClient) (n int, err error) {
		for _, err := range c.cache.MatchKeys(ctx, c.pattern("user:%06d:**")) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}},
	{"Count, of a user", 20, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.Count(ctx, c.pattern("user:%06d:**"))
	}},
	{"Page of 100, all shards", 10, true, func(ctx context.Context, c *loadClient) (int, error) {
		page, err := c.cache.Page(ctx, c.wide("user:%04d*:session:*"), wildkey.PageOptions{Limit: 100})
		return len(page.Entries), err
	}},
	{"Count of 100 users, all shards", 10, true, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.Count(ctx, c.wide("user:%04d*:**"))
	}},
	{"DeleteMatch, sessions of a user", 10, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.DeleteMatch(ctx, c.pattern("user:%06d:session:*"))
	}},
	{"TouchMatch, of a user", 10, false, func(ctx context.Context, c *loadClient) (int, error) {
		return c.cache.TouchMatch(ctx, c.life(), c.pattern("user:%06d:**"))
	}},
}

// longVerb goes through the whole namespace, in many short calls.
type longVerb struct {
	name string
	call func(ctx context.Context, l *loadRun) (records int, err error)
}

// longUse is how often one was called, and how many records it has met in all.
type longUse struct{ calls, records int }

// longVerbs run beside the clients when these have been measured, each over and
// over.
var longVerbs = []longVerb{
	{"Reindex", func(ctx context.Context, l *loadRun) (int, error) {
		return admin.Reindex(ctx, l.client, l.cache.Layout())
	}},
	{"Sweep", func(ctx context.Context, l *loadRun) (int, error) { return l.cache.Sweep(ctx) }},
}

// loadClient makes one call after the other.
type loadClient struct {
	*loadRun
	random    *rand.Rand
	latencies map[string]*hdrhistogram.Histogram
	calls     int
	records   int
}

func newLoadClient(l *loadRun, id uint64) *loadClient {
	return &loadClient{loadRun: l, random: rand.New(rand.NewPCG(2, id)), latencies: map[string]*hdrhistogram.Histogram{}}
}

// call makes the next call, of a verb drawn by the shares.
func (c *loadClient) call(ctx context.Context) {
	verb := drawVerb(c.random.IntN(1_000))
	for verb.wide && c.narrowly {
		verb = drawVerb(c.random.IntN(1_000))
	}
	c.measure(ctx, verb)
}

func drawVerb(drawn int) loadVerb {
	for _, verb := range loadMix {
		if drawn -= verb.share; drawn < 0 {
			return verb
		}
	}
	panic("the shares of the mix are not a thousand")
}

func (c *loadClient) measure(ctx context.Context, verb loadVerb) {
	start := time.Now()
	records, err := verb.call(ctx, c)
	took := time.Since(start)
	if err != nil {
		c.failed(verb.name, err)
		return
	}
	if c.latencies[verb.name] == nil {
		c.latencies[verb.name] = newHistogram()
	}
	c.calls++
	c.records += records
	if err := c.latencies[verb.name].RecordValue(max(1, took.Microseconds())); err != nil {
		c.failed(verb.name, err)
	}
}

func (c *loadClient) put(ctx context.Context, condition wildkey.Condition, keys ...wildkey.Key) (int, error) {
	records := make([]wildkey.Record, len(keys))
	for i, key := range keys {
		records[i] = wildkey.Record{Key: key, Value: value, TTL: c.life(), If: condition}
	}
	return len(records), ignore(c.cache.Put(ctx, records...), wildkey.ErrCondition)
}

func (c *loadClient) user() int { return c.random.IntN(c.users) }

func (c *loadClient) key() wildkey.Key {
	kind := loadKinds[c.random.IntN(len(loadKinds))]
	return userKey(c.user(), kind.kind, c.random.IntN(kind.count))
}

func (c *loadClient) life() time.Duration {
	most := 10 * c.length
	if c.random.IntN(4) == 0 {
		most = loadShort
	}
	return loadLeast + time.Duration(c.random.Int64N(int64(most-loadLeast)))
}

// pattern is about one user.
func (c *loadClient) pattern(format string) wildkey.Pattern {
	return wildkey.MustParsePattern(fmt.Sprintf(format, c.user()))
}

// wide is about a hundred users, whatever shards they lie in.
func (c *loadClient) wide(format string) wildkey.Pattern {
	return wildkey.MustParsePattern(fmt.Sprintf(format, c.user()/100))
}

// ignore drops an error that is an answer.
func ignore(err, answer error) error {
	if errors.Is(err, answer) {
		return nil
	}
	return err
}
