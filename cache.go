// Package wildkey is a Redis cache with hierarchical keys, found by wildcard.
// Its writes and its scan are atomic Lua scripts, the files in scripts/; the Go
// side encodes keys, compiles patterns and calls the scripts by digest.
//
// # Calls that are not answered, and calls that are sent twice
//
// When a connection breaks or a server does not answer in time, the error says
// nothing of what the call has done: it was done, or was not, or will be done yet,
// even after later calls. What is one atomic call is never done by half. Before
// it gives up, go-redis sends a call again, up to redis.Options.MaxRetries times,
// so that one which returns no such error may have been done twice too. Of that a
// caller sees:
//
//   - Nothing, with what reads, and with Reindex and Load.
//   - With Sweep and MoveTo: a number that may be too small.
//   - With Delete, Touch, and Put without a condition: the same as once, unless
//     another has written the record in between, which is then deleted or written
//     over. The number of records that were deleted may be too small.
//   - With the conditions Absent and Equal: ErrCondition, although Put has written
//     the records, as it meets its own work.
//   - With Take: ErrNotFound, although it has deleted the record, and nobody gets
//     its value.
//
// What must happen exactly once is therefore written as a value that no other
// call writes, under a condition; after ErrCondition, Get tells whose it is, and
// after any other error the call is made again. In the place of Take, a record is
// first claimed in that way and deleted when the work is done: see the example
// ExactlyOnce. What the claim guards lasts as long as its record: a TTL that ends
// before the work does lets another begin.
package wildkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// NoExpiry, in the place of a TTL, says on purpose that a record never expires.
const NoExpiry time.Duration = -1

// Client is what a Cache needs of a Redis client. *redis.Client,
// *redis.ClusterClient and the client of package luatest have it. A cluster is
// known by the type *redis.ClusterClient: one that is wrapped is taken for one
// server, of which Reindex would meet a part.
type Client interface {
	redis.Scripter
	Get(ctx context.Context, key string) *redis.StringCmd
	MGet(ctx context.Context, keys ...string) *redis.SliceCmd
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
	ScanType(ctx context.Context, cursor uint64, match string, count int64, keyType string) *redis.ScanCmd
}

// Options are the settings of a Cache.
type Options struct {
	// Namespace keeps a Cache apart from all else there. Default: "cache".
	Namespace string
	// TTL is for records that bring none: at least a millisecond (fractions of
	// one are cut) or NoExpiry. Without it, every record must bring a TTL.
	TTL time.Duration
	// Preloaded says that only operators load scripts on this server: nothing
	// is ever loaded, and a missing script is ErrScriptMissing.
	Preloaded bool
	// ReadOnly says that this client cannot write, as on a replica: stale
	// index entries that a page meets are left for others to sweep.
	ReadOnly bool
	// MaxRecords is the most records that one atomic call may name. Default: 250.
	MaxRecords int
	// PageLimit, PageReads and PageBytes bound each call of match.lua: its
	// matches (default 500, at most 99,999), the index entries that it reads
	// (1,000; 99,999) and its bytes of keys and values (1 MiB; 999,999,999).
	// PutEach and Writer put no more than PageBytes of keys, before they are encoded,
	// and values into a call, or one larger Put.
	PageLimit, PageReads, PageBytes int
	// Shards is how many hash tags, each in one hash slot of a cluster, the
	// namespace is spread over: 1 (the default) to 16,384. ShardSegments is how many
	// leading segments of a key choose its shard (default 1), by Key.Shard: what
	// one call is to write lies in one shard, or it is ErrCrossShard; a pattern
	// that leaves those segments open is asked of every shard, in parallel.
	// All who use a namespace must agree on both: MoveTo changes them.
	Shards, ShardSegments int
}

// Record is what Put writes.
type Record struct {
	Key   Key
	Value []byte
	TTL   time.Duration // 0: Options.TTL; or NoExpiry
	If    Condition     // the zero Condition always holds
}

// Condition is what must be true of a record for a Put to write anything.
type Condition struct{ argument string }

var (
	Absent  = Condition{"-"} // there is no live record
	Present = Condition{"+"} // there is a live record
)

// Equal holds where there is a live record with just this value.
func Equal(value []byte) Condition { return Condition{"=" + string(value)} }

// Entry is a record that a pattern has matched.
type Entry struct {
	Key   Key
	Value []byte
}

// Page is some of the records that a pattern matches.
type Page struct {
	Entries []Entry
	Cursor  string // where the next page starts; empty: this was the last
}

// SweepStats counts the index entries that a Sweep has collected.
type SweepStats struct {
	Purged  int // their record had expired
	Dropped int // their record had been evicted, or deleted by hand
}

// Cache is a namespace of records on a Redis server or cluster. It is safe for
// concurrent use, neither owns nor closes its client, and starts no goroutine
// but for calls that ask several shards: those end before the call returns.
//
// While a slot moves between nodes of a cluster, a call either finds all that it
// names on one of them or fails with TRYAGAIN (redis.IsTryAgainError) and has
// written nothing; what makes several calls, as DeleteMatch, may stop in between.
type Cache struct {
	client  Client
	loader  *loader
	options Options
	shards  []shard
}

// New returns the Cache of a namespace. It sends nothing to the server.
func New(client Client, options Options) (*Cache, error) {
	options.MaxRecords = cmp.Or(options.MaxRecords, 250)
	options.PageLimit = cmp.Or(options.PageLimit, 500)
	options.PageReads = cmp.Or(options.PageReads, 1_000)
	options.PageBytes = cmp.Or(options.PageBytes, 1<<20)
	options.Shards = cmp.Or(options.Shards, 1)
	options.ShardSegments = cmp.Or(options.ShardSegments, 1)
	if client == nil || min(options.MaxRecords, options.PageLimit, options.PageReads, options.PageBytes) < 1 ||
		max(options.PageLimit, options.PageReads) > 99_999 || options.PageBytes > 999_999_999 ||
		min(options.Shards, options.ShardSegments) < 1 || options.Shards > 16_384 {
		return nil, fmt.Errorf("wildkey: New with the client %v: it is nil, or a bound is out of its range in %+v",
			client, options)
	}
	c := &Cache{
		client:  client,
		loader:  &loader{client: client, preloaded: options.Preloaded},
		options: options,
		shards:  newShards(cmp.Or(options.Namespace, "cache"), options.Shards),
	}
	if _, err := c.ttlArgument(cmp.Or(options.TTL, NoExpiry)); err != nil {
		return nil, err
	}
	return c, nil
}

// Load loads all scripts on every node, replicas too, or with Options.Preloaded
// checks that they are there; a node that is down is an error. It is optional:
// verbs load what they need, and need no more than the node that they call.
func (c *Cache) Load(ctx context.Context) error {
	for _, script := range Scripts() {
		if err := c.loader.provide(ctx, script); err != nil {
			return err
		}
	}
	return nil
}

// Put writes the records: all of them at once, or none if an argument is
// invalid, a condition fails (ErrCondition) or the server refuses, as when its
// memory is full (redis.IsOOMError). Of a key that comes twice, the last counts.
// One round trip, which also purges at most 64 + 2n expired index entries.
func (c *Cache) Put(ctx context.Context, records ...Record) error {
	n, err := c.put(ctx, records)
	if n < 0 {
		return fmt.Errorf("%w (record %d)", ErrCondition, -n)
	}
	return err
}

// put returns what put.lua does: how many records it wrote or, negative, the
// number of the one whose condition failed.
func (c *Cache) put(ctx context.Context, records []Record) (int, error) {
	names, args, err := c.putArguments(records)
	if err != nil || len(records) == 0 {
		return 0, err
	}
	return c.loader.run(ctx, putScript, names, args...).Int()
}

func (c *Cache) putArguments(records []Record) (names []string, args []any, err error) {
	keys := make([]Key, len(records))
	args = make([]any, 0, 3*len(records))
	for i, record := range records {
		ttl, err := c.ttlArgument(record.TTL)
		if err != nil {
			return nil, nil, fmt.Errorf("%w (record %d)", err, i+1)
		}
		keys[i] = record.Key
		args = append(args, record.Value, ttl, cmp.Or(record.If.argument, "*"))
	}
	names, err = c.scriptKeys(keys)
	return names, args, err
}

// Get returns the value of the record, or ErrNotFound. It is a plain GET.
func (c *Cache) Get(ctx context.Context, key Key) ([]byte, error) {
	name, err := key.encode(c.shardOf(key).prefix)
	if err != nil {
		return nil, err
	}
	value, err := c.client.Get(ctx, name).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("wildkey: GET: %w", err)
	}
	return value, nil
}

// GetMany returns the value of each key, in the order of the keys: nil where
// there is no record, empty but not nil where the value is empty. It is a plain
// MGET, and one atomic snapshot, for each shard in which the keys lie.
func (c *Cache) GetMany(ctx context.Context, keys ...Key) ([][]byte, error) {
	if err := c.checkNumber(keys); err != nil || len(keys) == 0 {
		return nil, err
	}
	values, parts := make([][]byte, len(keys)), c.split(keys)
	err := inParallel(ctx, len(parts), func(ctx context.Context, i int) error {
		names, err := parts[i].shard.names(parts[i].keys)
		if err != nil {
			return err
		}
		found := c.client.MGet(ctx, names[len(parts[i].shard.indexes):]...)
		if err := found.Err(); err != nil {
			return fmt.Errorf("wildkey: MGET: %w", err)
		}
		for j, value := range found.Val() {
			if value, ok := value.(string); ok {
				values[parts[i].places[j]] = []byte(value)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Delete deletes the records, all at once, and returns how many of them
// existed. It works on a server whose memory is full. One round trip.
func (c *Cache) Delete(ctx context.Context, keys ...Key) (int, error) {
	return c.each(ctx, keys, c.delete)
}

// Take deletes the record and returns the value that it had, or ErrNotFound.
// Of concurrent calls, just one gets the value. One round trip.
func (c *Cache) Take(ctx context.Context, key Key) ([]byte, error) {
	names, err := c.scriptKeys([]Key{key})
	if err != nil {
		return nil, err
	}
	values, err := c.loader.run(ctx, deleteScript, names, "values").Slice()
	if err != nil {
		return nil, err
	}
	for _, value := range values {
		if value, ok := value.(string); ok {
			return []byte(value), nil
		}
	}
	return nil, ErrNotFound
}

// Touch gives those of the records that are live a new TTL, all at once, and
// returns how many they are. A ttl of 0 means Options.TTL. One round trip.
func (c *Cache) Touch(ctx context.Context, ttl time.Duration, keys ...Key) (int, error) {
	argument, err := c.ttlArgument(ttl)
	if err != nil {
		return 0, err
	}
	return c.each(ctx, keys, c.touch(argument))
}

// Match returns an iterator over the records that match, with their values, in
// byte order of their encoded keys. Each page is one round trip and one atomic
// snapshot, but the whole is not: a record that lives from start to end is met
// exactly once, any other at most once. An error ends the iteration. Where the
// pattern asks several shards, up to a page of each is in memory at a time.
func (c *Cache) Match(ctx context.Context, pattern Pattern) iter.Seq2[Entry, error] {
	return c.merged(ctx, "values", pattern)
}

// MatchKeys is Match without the values. It reads the index alone: a key whose
// record was evicted or deleted by hand may be among them until it is swept.
func (c *Cache) MatchKeys(ctx context.Context, pattern Pattern) iter.Seq2[Key, error] {
	return func(yield func(Key, error) bool) {
		for entry, err := range c.merged(ctx, "keys", pattern) {
			if !yield(entry.Key, err) {
				return
			}
		}
	}
}

// All returns all that Match meets.
func (c *Cache) All(ctx context.Context, pattern Pattern) ([]Entry, error) {
	var entries []Entry
	for entry, err := range c.Match(ctx, pattern) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Page returns at most limit matches (0: Options.PageLimit), from the start or
// from the Cursor of the page before, which holds no state on the server. It is
// one atomic snapshot and one round trip, two if it met stale index entries. At
// Options.PageReads or PageBytes it ends short, even empty, and with a Cursor.
// Where the pattern asks several shards, each call to one of them is a snapshot.
func (c *Cache) Page(ctx context.Context, pattern Pattern, cursor string, limit int) (page Page, err error) {
	limit = cmp.Or(limit, c.options.PageLimit)
	if shards := c.shardsOf(pattern); len(shards) > 1 {
		return c.mergedPage(ctx, shards, pattern, cursor, limit)
	} else if page, _, err = c.match(ctx, &shards[0], "values", pattern, cursor, limit); err != nil {
		return Page{}, err
	}
	return page, nil
}

// Count returns how many records match, by the index alone: one that was
// evicted or deleted by hand counts until it is swept. A round trip, and an
// atomic snapshot, for each Options.PageReads entries read.
func (c *Cache) Count(ctx context.Context, pattern Pattern) (int, error) {
	return sum(ctx, c.shardsOf(pattern), func(ctx context.Context, s *shard) (int, error) {
		for total, cursor := 0, ""; ; {
			page, n, err := c.match(ctx, s, "count", pattern, cursor, c.options.PageReads)
			if total, cursor = total+n, page.Cursor; err != nil || cursor == "" {
				return total, err
			}
		}
	})
}

// DeleteMatch deletes the records that match and returns how many they were.
// It finds up to Options.MaxRecords of them in a shard and then deletes those at
// once: a reader sees all or none. What goes beyond that goes in further rounds.
func (c *Cache) DeleteMatch(ctx context.Context, pattern Pattern) (int, error) {
	return c.onMatches(ctx, pattern, c.delete)
}

// TouchMatch gives the records that match a new TTL and returns how many they
// were, in rounds as DeleteMatch.
func (c *Cache) TouchMatch(ctx context.Context, ttl time.Duration, pattern Pattern) (int, error) {
	argument, err := c.ttlArgument(ttl)
	if err != nil {
		return 0, err
	}
	return c.onMatches(ctx, pattern, c.touch(argument))
}

// Sweep collects every stale index entry: all that have expired, and then,
// looking for the record of each entry of the namespace, all whose record was
// evicted or deleted by hand. It makes many short calls and touches no record.
func (c *Cache) Sweep(ctx context.Context) (total SweepStats, err error) {
	limit := min(c.options.MaxRecords, 9_999) // the most that sweep.lua takes
	total.Purged, err = sum(ctx, c.shards, func(ctx context.Context, s *shard) (total int, err error) {
		for purged := limit; purged == limit && err == nil; total += purged {
			purged, _, err = c.sweep(ctx, limit, s.indexes)
		}
		return total, err
	})
	if err != nil {
		return total, err
	}
	total.Dropped, err = c.onMatches(ctx, everything, func(ctx context.Context, names []string) (int, error) {
		_, dropped, err := c.sweep(ctx, 0, names)
		return dropped, err
	})
	return total, err
}

// sweep calls sweep.lua for the indexes and suspects that names holds.
func (c *Cache) sweep(ctx context.Context, limit int, names []string) (purged, dropped int, err error) {
	counts, err := c.loader.run(ctx, sweepScript, names, limit).Int64Slice()
	if err != nil || len(counts) != 2 {
		return 0, 0, cmp.Or(err, unexpectedReply(sweepScript, counts))
	}
	return int(counts[0]), int(counts[1]), nil
}

// action calls a script with these KEYS and returns how many records it met.
type action func(ctx context.Context, names []string) (int, error)

func (c *Cache) delete(ctx context.Context, names []string) (int, error) {
	return c.loader.run(ctx, deleteScript, names, "count").Int()
}

func (c *Cache) touch(ttl string) action {
	return func(ctx context.Context, names []string) (int, error) {
		args := slices.Repeat([]any{ttl}, len(names)-2)
		return c.loader.run(ctx, touchScript, names, args...).Int()
	}
}

// each does the action on the keys, all in one call.
func (c *Cache) each(ctx context.Context, keys []Key, act action) (int, error) {
	names, err := c.scriptKeys(keys)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	return act(ctx, names)
}

// onMatches does the action on what matches, in all shards at a time.
func (c *Cache) onMatches(ctx context.Context, pattern Pattern, act action) (int, error) {
	return sum(ctx, c.shardsOf(pattern), func(ctx context.Context, s *shard) (int, error) {
		return c.inBatches(ctx, s, c.entries(ctx, s, "keys", pattern), act)
	})
}

// inBatches does the action on records of one shard, Options.MaxRecords a call.
func (c *Cache) inBatches(
	ctx context.Context, s *shard, found iter.Seq2[Entry, error], act action,
) (total int, err error) {
	var batch []Key
	flush := func() error {
		names, err := s.names(batch)
		if err != nil || len(batch) == 0 {
			return err
		}
		n, err := act(ctx, names)
		total, batch = total+n, batch[:0]
		return err
	}
	for entry, err := range found {
		if err != nil {
			return total, err
		}
		if batch = append(batch, entry.Key); len(batch) == c.options.MaxRecords {
			if err := flush(); err != nil {
				return total, err
			}
		}
	}
	err = flush()
	return total, err
}

// entries yields what match.lua finds in one shard, page by page, until the last.
func (c *Cache) entries(ctx context.Context, s *shard, want string, pattern Pattern) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for cursor, more := "", true; more; more = cursor != "" {
			page, _, err := c.match(ctx, s, want, pattern, cursor, c.options.PageLimit)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range page.Entries {
				if !yield(entry, nil) {
					return
				}
			}
			cursor = page.Cursor
		}
	}
}

// match calls match.lua, and has the stale index entries that it met swept.
func (c *Cache) match(
	ctx context.Context, s *shard, want string, pattern Pattern, cursor string, limit int,
) (page Page, n int, err error) {
	if err := pattern.check(); err != nil {
		return page, 0, err
	}
	args := []any{want, cursor, limit, c.options.PageReads, c.options.PageBytes}
	for _, term := range pattern.terms {
		args = append(args, term.argument)
	}
	reply, err := c.loader.run(ctx, matchScript, s.indexes, args...).Slice()
	if err != nil || len(reply) != 4 {
		return page, 0, cmp.Or(err, unexpectedReply(matchScript, reply))
	}
	var results []string
	if want == "count" {
		n, err = redis.NewCmdResult(reply[3], nil).Int()
	} else {
		results, err = redis.NewCmdResult(reply[3], nil).StringSlice()
	}
	stale, errStale := redis.NewCmdResult(reply[2], nil).StringSlice()
	next, errCursor := redis.NewCmdResult(reply[0], nil).Text()
	// A cursor goes back only where the order index holds other scores than 0.
	if cmp.Or(err, errStale, errCursor) != nil || next != "" && cursor != "" && (next == cursor || next[1:] < cursor[1:]) {
		return page, 0, unexpectedReply(matchScript, reply)
	}
	page.Cursor = next
	for len(results) > 0 {
		key, err := ParseKey(results[0])
		entry := Entry{Key: key}
		if results = results[1:]; want == "values" {
			entry.Value, results = []byte(results[0]), results[1:]
		}
		if err == nil { // else it was not written by a Cache
			page.Entries = append(page.Entries, entry)
		}
	}
	if len(stale) > 0 && !c.options.ReadOnly {
		names := slices.Clone(s.indexes)
		for _, encoded := range stale {
			names = append(names, s.prefix+encoded)
		}
		// The page is right with or without this: if the sweep fails, the next
		// page that meets these entries asks for another.
		_, _, _ = c.sweep(ctx, 0, names)
	}
	return page, n, nil
}

// scriptKeys returns the KEYS of a script that writes these records.
func (c *Cache) scriptKeys(keys []Key) ([]string, error) {
	if err := c.checkNumber(keys); err != nil || len(keys) == 0 {
		return nil, err
	}
	s := c.shardOf(keys[0])
	names, err := s.names(keys)
	if err != nil {
		return nil, err
	}
	return names, c.checkShard(s, keys)
}

func (c *Cache) checkNumber(keys []Key) error {
	if len(keys) > c.options.MaxRecords {
		return fmt.Errorf("%w: %d, and Options.MaxRecords is %d", ErrTooMany, len(keys), c.options.MaxRecords)
	}
	return nil
}

// ttlArgument returns a TTL as the scripts take it: whole milliseconds, or 0.
func (c *Cache) ttlArgument(ttl time.Duration) (string, error) {
	switch ttl = cmp.Or(ttl, c.options.TTL); {
	case ttl == NoExpiry:
		return "0", nil
	case ttl < time.Millisecond:
		return "", fmt.Errorf("%w: %v, by the call or by Options; a millisecond, or NoExpiry, is the least",
			ErrInvalidTTL, ttl)
	}
	return strconv.FormatInt(ttl.Milliseconds(), 10), nil
}
