package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/reference"
)

const (
	fullTTL    = 7 * 24 * time.Hour
	fullCall   = 50  // records put at a time
	fullPoints = 60  // how often the live records are counted
	fullSample = 500 // of them are looked for by their user
	fullUsers  = 100_000
)

var policies = []string{"volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"}

var fullValue = strings.Repeat("v", 400)

// Point is how many records were live after so many puts.
type Point struct {
	Puts int `json:"puts"`
	Live int `json:"live"`
}

// filler is a contender that puts new records without end.
type filler struct {
	name      string
	ascending bool // keys ascend in byte order; otherwise their users are drawn by chance
	put       putter
	index     string                                                   // of all records; empty: there is none
	entries   func(ctx context.Context, index string) *redis.IntCmd    // how many the index has
	key       func(name string) (wildkey.Key, error)                   // the key of a record
	ofUser    func(ctx context.Context, user string) ([]string, error) // the names of a user's records
}

// runFull has each contender put new records without end into a server with
// little memory, until a put fails or the contender's index is evicted.
func runFull(ctx context.Context, b *bench) error {
	for i, policy := range policies {
		puts, names := b.scale.fullPuts, []string{nameWildkey, nameAscending, nameReference, nameTags, nameSet}
		if i > 0 {
			puts, names = puts/3, []string{nameWildkey, nameAscending, nameSet}
		}
		result := Result{
			Line: "full-" + policy,
			Title: fmt.Sprintf("%s puts of new records into %d MB, or until it fails, %s",
				thousands(puts), b.scale.fullMB, policy),
			Note: fmt.Sprintf("Values of %d bytes, a TTL of a week, %d records at a time. Users are drawn by chance, unless keys "+
				"ascend. gocache gets a tag for the user and one for the kind of record. The latter is its index of all records, as "+
				"the sorted set of the whole namespace is the reference's: if it is evicted, it forgets records that are live. The "+
				"share of stale entries is the largest on the way. The last column is of %d live records at the end: how many the "+
				"pattern or the tag of their user finds. SET has neither. Measured once.", len(fullValue), fullCall, fullSample),
			Metrics: []string{putsDone.name, liveRecs.name, indexEntries.name, stalePercent.name, foundPercent.name},
			Apart:   true,
			Rows:    make([]Row, len(names)),
		}
		// At the same time, as nothing is measured in time.
		var fills []func() error
		for i, name := range names {
			s, err := b.server("--maxmemory", fmt.Sprintf("%dmb", b.scale.fullMB), "--maxmemory-policy", policy,
				"--slowlog-log-slower-than", "-1") // a slow log would take of the memory
			if err != nil {
				return err
			}
			f, err := newFiller(ctx, name, s)
			if err != nil {
				return err
			}
			fills = append(fills, func() (err error) {
				result.Rows[i], err = f.fill(ctx, s, puts)
				return err
			})
		}
		if err := together(fills...); err != nil {
			return fmt.Errorf("%s: %w", policy, err)
		}
		b.stopServers()
		b.add(result)
	}
	return nil
}

func newFiller(ctx context.Context, name string, s *server) (*filler, error) {
	f := &filler{name: name, key: layout.Key}
	switch name {
	case nameWildkey, nameAscending:
		cache, err := newCache(ctx, s.client, namespace)
		if err != nil {
			return nil, err
		}
		f.ascending, f.entries, f.index = name == nameAscending, s.control.ZCard, layout.Index(0)
		f.put = func(ctx context.Context, keys []wildkey.Key) error {
			records := make([]wildkey.Record, len(keys))
			for i, key := range keys {
				records[i] = wildkey.Record{Key: key, Value: []byte(fullValue), TTL: fullTTL}
			}
			return cache.Put(ctx, records...)
		}
		f.ofUser = func(ctx context.Context, user string) (names []string, err error) {
			entries, err := cache.Collect(ctx, wildkey.MustParsePattern("user:"+user+":session:*"))
			for _, entry := range entries {
				names = append(names, redisName(entry.Key))
			}
			return names, err
		}
	case nameReference:
		store := newReference(s, namespace)
		f.entries, f.index = s.control.ZCard, reference.IndexName([]string{namespace})
		f.put = func(ctx context.Context, keys []wildkey.Key) error {
			records := make([]reference.Record, len(keys))
			for i, key := range keys {
				records[i] = reference.Record{Key: []string(key), Value: fullValue}
			}
			return store.Put(ctx, fullTTL, records...)
		}
		f.key = func(name string) (wildkey.Key, error) { return reference.DecodePath(name)[1:], nil }
		f.ofUser = func(ctx context.Context, user string) (names []string, err error) {
			records, err := store.All(ctx, []string{"user", user, "session", reference.Wild})
			for _, record := range records {
				names = append(names, reference.EncodePath(store.Path(record.Key)))
			}
			return names, err
		}
	case nameTags:
		const tag = "gocache_tag_"
		f.entries, f.index = s.control.SCard, tag+"session"
		// What gocache's Set sends for each record, in fewer round trips.
		f.put = inPipeline(s.client, func(pipe redis.Pipeliner, key wildkey.Key) {
			pipe.Set(ctx, redisName(key), fullValue, fullTTL)
			for _, of := range []string{key[1], key[2]} {
				pipe.SAdd(ctx, tag+of, redisName(key))
				pipe.Expire(ctx, tag+of, 720*time.Hour)
			}
		})
		f.ofUser = func(ctx context.Context, user string) ([]string, error) {
			return s.client.SMembers(ctx, tag+user).Result()
		}
	case nameSet:
		f.put = inPipeline(s.client, func(pipe redis.Pipeliner, key wildkey.Key) {
			pipe.Set(ctx, redisName(key), fullValue, fullTTL)
		})
	}
	return f, nil
}

// inPipeline sends the commands of several records at once. As gocache does, it
// ignores an error of any command but SET.
func inPipeline(client *redis.Client, commands func(pipe redis.Pipeliner, key wildkey.Key)) putter {
	return func(ctx context.Context, keys []wildkey.Key) error {
		replies, _ := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, key := range keys {
				commands(pipe, key)
			}
			return nil
		})
		for _, reply := range replies {
			if reply.Name() == "set" && reply.Err() != nil {
				return reply.Err()
			}
		}
		return nil
	}
}

// fill puts records until the contender fails or all are done.
func (f *filler) fill(ctx context.Context, s *server, puts int) (row Row, err error) {
	row = Row{Name: f.name, Points: []Point{{}}}
	chance := rand.New(rand.NewPCG(5, 6)) // the same keys in every run
	var end Sample
	var some []string
	for end.Records < puts && row.Failed == "" {
		for next := min(puts, end.Records+puts/fullPoints); end.Records < next && row.Failed == ""; {
			keys := make([]wildkey.Key, fullCall)
			for i := range keys {
				user := end.Records + i
				if !f.ascending {
					user = chance.IntN(fullUsers)
				}
				keys[i] = userKey(user, "session", end.Records+i)
			}
			if err := f.put(ctx, keys); err != nil {
				row.Failed = err.Error()
				continue
			}
			end.Records += fullCall
			if f.index == "" {
				continue
			}
			entries, err := f.entries(ctx, f.index).Result()
			if err != nil {
				return row, err
			}
			if end.Entries = int(entries); end.Entries <= fullCall && end.Records > 2*fullCall {
				row.Failed = "its index was evicted"
			}
		}
		if end.Live, some, err = liveRecords(ctx, s.control); err != nil {
			return row, err
		}
		row.Points = append(row.Points, Point{end.Records, end.Live})
		end.Stale = max(end.Stale, 1-float64(end.Live)/float64(max(1, end.Entries)))
	}
	if f.index != "" {
		end.Found, err = f.found(ctx, s.control, some)
	}
	row.Samples = []Sample{end}
	return row, err
}

// liveRecords returns how many strings the server has, and the names of some of
// them: the first that SCAN meets, which are in no order.
func liveRecords(ctx context.Context, client *redis.Client) (live int, some []string, err error) {
	for cursor, more := uint64(0), true; more; more = cursor != 0 {
		var names []string
		if names, cursor, err = client.ScanType(ctx, cursor, "", 1_000, "string").Result(); err != nil {
			return 0, nil, err
		}
		live += len(names)
		some = append(some, names[:min(len(names), fullSample-len(some))]...)
	}
	return live, some, nil
}

// found returns the share of the records that are found by their user. A record
// that was evicted meanwhile does not count.
func (f *filler) found(ctx context.Context, client *redis.Client, records []string) (float64, error) {
	found, all := 0, 0
	for _, name := range records {
		key, err := f.key(name)
		if err != nil {
			return 0, err
		}
		names, err := f.ofUser(ctx, key[1])
		if err != nil {
			return 0, err
		}
		live, err := client.Exists(ctx, name).Result()
		if err != nil {
			return 0, err
		}
		if all += int(live); live == 1 && slices.Contains(names, name) {
			found++
		}
	}
	return float64(found) / float64(max(1, all)), nil
}
