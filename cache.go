// Package wildkey is a Redis cache with hierarchical keys, found by wildcard.
// Its writes and its scan are atomic Lua scripts, the files in scripts/; the Go
// side encodes keys, compiles patterns and calls the scripts by digest.
//
// # Calls whose answer is lost
//
// An atomic call is never done by half. If a connection breaks or a server does
// not answer in time, the error does not tell whether the call was done, and
// go-redis sends a call again, up to redis.Options.MaxRetries times, so it may be
// done twice. Reads, Delete, Touch and Put without a condition do not mind. Take may
// return ErrNotFound and a condition may fail because the call meets its own work.
// The example ExactlyOnce shows what to do about it, and docs/failures.md says what
// each verb tells its caller.
package wildkey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Client is what a Cache needs of a Redis client. *redis.Client, also of
// redis.NewFailoverClient, *redis.ClusterClient, *redis.Ring,
// redis.UniversalClient and the client of package luatest have it, and so has what
// embeds one of them.
//
// The deadline of a context ends a call that is under way only with the client's
// option ContextTimeoutEnabled. Without it, go-redis waits for ReadTimeout, and for
// that of each repetition. Cancelling a context ends no call that is under way.
type Client interface {
	redis.Scripter
	Get(ctx context.Context, key string) *redis.StringCmd
	MGet(ctx context.Context, keys ...string) *redis.SliceCmd
	GetEx(ctx context.Context, key string, expiration time.Duration) *redis.StringCmd
	PTTL(ctx context.Context, key string) *redis.DurationCmd
	ZLexCount(ctx context.Context, key, min, max string) *redis.IntCmd
}

// Options are the settings of a Cache.
type Options struct {
	// Namespace keeps the records of a Cache apart from all others. Default: "cache".
	Namespace string
	// TTL is for records that bring none: at least a millisecond (fractions of
	// one are cut) or NoExpiry. Without it, every record must bring a TTL.
	TTL time.Duration
	// Preloaded says that only operators load scripts on this server. The Cache
	// loads nothing, and a missing script is ErrScriptMissing.
	Preloaded bool
	// LeaveStale has pages leave the stale index entries that they meet, as a
	// client must that is not allowed to write.
	LeaveStale bool
	// DeclaredKeys is for servers that refuse a script a key that the call has not
	// declared. A page of a shard is then two calls, and no snapshot: match.lua reads
	// the index, and an MGET the records, for MatchKeys too. Its limit counts stale
	// entries as well, so that it may end short, even empty, and with a cursor.
	// CallBytes does not bound what that MGET returns. FromMaster concerns the index
	// alone. Count, List and WithTTL are ErrBadArgument, and so is admin.Move from such a
	// Cache. Stale index entries are dropped by Sweep and DeleteMatch alone.
	DeclaredKeys bool
	// CallRecords is the most records that one atomic call may name: at most
	// 10,000. Default: 250. A call of that size blocks the server for a millisecond
	// or two.
	CallRecords int
	// CallBytes is the most bytes of keys and values that a page returns, and that
	// PutEach and package writer put into one call: at most 999,999,999. Default:
	// 1 MiB. A larger record goes alone.
	CallBytes int
	// PageLimit is the most records of a page (default 500), and PageReads the most
	// index entries that are read for it (default 1,000). Both are at most 99,999.
	PageLimit, PageReads int
	// Shards is how many hash tags, each in one hash slot of a cluster, the
	// namespace is spread over: 1 (the default) to 16,384. ShardSegments is how many
	// leading segments of a key choose its shard (default 1). All records of one
	// atomic call must lie in one shard. A pattern that leaves those segments open
	// is asked of every shard, in parallel. All programs that use a namespace must
	// agree on both numbers; admin.Move changes them.
	Shards, ShardSegments int
}

// Entry is a record that a pattern has matched.
type Entry struct {
	Key   Key
	Value []byte
	// TTL is the time that the record has left, from a millisecond to MaxTTL, or
	// NoExpiry. It is 0 unless it was asked for.
	TTL time.Duration
}

// Page is some of the records that a pattern matches.
type Page struct {
	Entries []Entry
	Cursor  string // where the next page starts; empty: this was the last
}

// PageOptions say which page to return.
type PageOptions struct {
	Cursor  string // of the page before; empty: the first page
	After   Key    // in place of a Cursor: the page starts behind this key, live or not
	Limit   int    // the most records; 0: Options.PageLimit
	WithTTL bool   // return the time that each record has left
}

// MatchOption changes how Match reads.
type MatchOption func(*query)

// WithTTL has Match return the time that each record has left. It costs the
// server one look more a record.
func WithTTL() MatchOption { return func(q *query) { q.want = "records" } }

// FromMaster has Match read from the master, even if the client sends its reads
// to replicas. It then sees all that was written before.
func FromMaster() MatchOption { return func(q *query) { q.fromMaster = true } }

// Cache is a namespace of records on a Redis server or cluster. It is safe for
// concurrent use, neither owns nor closes its client, and starts no goroutine
// except in calls that ask several shards: those end before the call returns.
//
// While a slot moves between nodes of a cluster, a call either finds all that it
// names on one of them or fails with TRYAGAIN (redis.IsTryAgainError) and has
// written nothing. A verb that makes several calls, such as DeleteMatch, may stop
// in between.
type Cache struct {
	client  Client
	loader  *loader
	options Options
	layout  Layout
	only    *int // the shard where patterns look; nil: all
}

// New returns the Cache of a namespace. It sends nothing to the server.
func New(client Client, options Options) (*Cache, error) {
	if value := reflect.ValueOf(client); !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil() {
		return nil, errors.New("wildkey: New: the client is nil")
	}
	if _, queues := client.(redis.Pipeliner); queues {
		return nil, fmt.Errorf("wildkey: New: a %T answers only once it is executed; give New the client itself", client)
	}
	for _, bound := range []struct {
		name           string
		value          *int
		standard, most int
	}{
		{"CallRecords", &options.CallRecords, 250, 10_000},
		{"CallBytes", &options.CallBytes, 1 << 20, 999_999_999},
		{"PageLimit", &options.PageLimit, 500, 99_999},
		{"PageReads", &options.PageReads, 1_000, 99_999},
	} {
		*bound.value = cmp.Or(*bound.value, bound.standard)
		if *bound.value < 1 || *bound.value > bound.most {
			return nil, fmt.Errorf("wildkey: New: %s is %d, but must be 1 to %d", bound.name, *bound.value, bound.most)
		}
	}
	if _, err := ttlArgument(cmp.Or(options.TTL, NoExpiry)); err != nil {
		return nil, fmt.Errorf("%w, in Options", err)
	}
	layout, err := NewLayout(options.Namespace, options.Shards, options.ShardSegments)
	if err != nil {
		return nil, err
	}
	options.Namespace = cmp.Or(options.Namespace, "cache")
	options.Shards, options.ShardSegments = layout.Shards(), layout.ShardSegments()
	loader := &loader{client: client, preloaded: options.Preloaded}
	return &Cache{client: client, loader: loader, options: options, layout: layout}, nil
}

// Options returns the settings in force, with the defaults of those not given.
func (c *Cache) Options() Options { return c.options }

// Layout returns how the Cache names its Redis keys.
func (c *Cache) Layout() Layout { return c.layout }

// OnShard returns the Cache as one of its shards has it, 0 to Options.Shards-1: a
// pattern finds, and Sweep sweeps, what lies there alone. What names keys is as
// before.
func (c *Cache) OnShard(shard int) *Cache {
	one := *c
	one.only = &shard
	return &one
}

// Load loads all scripts on every node, replicas too, or with Options.Preloaded
// checks that they are there; a node that is down is an error, but for a server that
// a *redis.Ring does without. Load is optional: verbs load the scripts that they need.
func (c *Cache) Load(ctx context.Context) error {
	ctx = withVerb(ctx, "Load")
	for _, script := range Scripts() {
		if err := c.loader.provide(ctx, script); err != nil {
			return err
		}
	}
	return nil
}

// Get returns the value of the record, or ErrNotFound. It is a plain GET.
func (c *Cache) Get(ctx context.Context, key Key) ([]byte, error) {
	ctx = withVerb(ctx, "Get")
	name, err := c.layout.Record(key)
	if err != nil {
		return nil, err
	}
	return valueOf("GET", c.client.Get(ctx, name))
}

// GetTouch returns the value of the record and gives it a new TTL, or returns
// ErrNotFound. It is a plain GETEX.
func (c *Cache) GetTouch(ctx context.Context, ttl time.Duration, key Key) ([]byte, error) {
	ctx = withVerb(ctx, "GetTouch")
	name, err := c.layout.Record(key)
	if err != nil {
		return nil, err
	}
	if _, err := ttlArgument(ttl); err != nil {
		return nil, err
	}
	if ttl == NoExpiry {
		ttl = 0 // which go-redis takes for PERSIST
	}
	return valueOf("GETEX", c.client.GetEx(ctx, name, ttl.Truncate(time.Millisecond)))
}

func valueOf(command string, reply *redis.StringCmd) ([]byte, error) {
	value, err := reply.Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("wildkey: %s: %w", command, err)
	}
	return value, nil
}

// TTL returns the time that the record has left, from a millisecond to MaxTTL, or
// NoExpiry, or ErrNotFound. It is a plain PTTL.
func (c *Cache) TTL(ctx context.Context, key Key) (time.Duration, error) {
	ctx = withVerb(ctx, "TTL")
	name, err := c.layout.Record(key)
	if err != nil {
		return 0, err
	}
	left, err := c.client.PTTL(ctx, name).Result()
	switch {
	case err != nil:
		return 0, fmt.Errorf("wildkey: PTTL: %w", err)
	case left == -2: // go-redis hands on the codes of PTTL as nanoseconds
		return 0, ErrNotFound
	case left == -1:
		return NoExpiry, nil
	case left%time.Millisecond != 0: // more milliseconds than a Duration holds: they have wrapped around
		return MaxTTL, nil
	}
	return max(left, time.Millisecond), nil
}

// GetMany returns the value of each key, in the order of the keys: nil where
// there is no record, empty but not nil where the value is empty. It is a plain
// MGET, and one atomic snapshot, for each shard in which the keys lie.
func (c *Cache) GetMany(ctx context.Context, keys ...Key) ([][]byte, error) {
	ctx = withVerb(ctx, "GetMany")
	if err := c.checkNumber(keys); err != nil || len(keys) == 0 {
		return nil, err
	}
	values := make([][]byte, len(keys))
	parts := slices.Collect(maps.Values(c.layout.split(keys)))
	err := inParallel(ctx, parts, func(ctx context.Context, places []int) (err error) {
		names := make([]string, len(places))
		for i, place := range places {
			if names[i], err = c.layout.Record(keys[place]); err != nil {
				return fmt.Errorf("%w (key %d of the call)", err, place+1)
			}
		}
		found, err := c.client.MGet(ctx, names...).Result()
		if err != nil {
			return fmt.Errorf("wildkey: MGET: %w", err)
		}
		for i, value := range found {
			if value, ok := value.(string); ok {
				values[places[i]] = []byte(value)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return values, nil
}

// Delete deletes the records, all at once, and returns how many of them were
// live. It works on a server whose memory is full. One round trip.
func (c *Cache) Delete(ctx context.Context, keys ...Key) (int, error) {
	ctx = withVerb(ctx, "Delete")
	names, err := c.keysOf(keys)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	return c.delete(ctx, names)
}

func (c *Cache) delete(ctx context.Context, names []string) (int, error) {
	return c.loader.run(ctx, deleteScript, names, "count").Int()
}

// Take deletes the record and returns the value that it had, or ErrNotFound.
// Of concurrent calls, just one gets the value. One round trip.
func (c *Cache) Take(ctx context.Context, key Key) ([]byte, error) {
	ctx = withVerb(ctx, "Take")
	names, err := c.keysOf([]Key{key})
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

// Match returns an iterator over the records that match, with their values, in
// byte order of their encoded keys. Each page is one round trip and one atomic
// snapshot, but the whole is not: a record that lives from start to end is met
// exactly once, any other at most once. An error ends the iteration. Where the
// pattern asks several shards, up to a page of each is in memory at a time.
func (c *Cache) Match(ctx context.Context, pattern Pattern, options ...MatchOption) iter.Seq2[Entry, error] {
	ctx = withVerb(ctx, "Match")
	q := query{want: "values", pattern: pattern, limit: c.options.PageLimit}
	for _, option := range options {
		option(&q)
	}
	return c.merge(ctx, c.shardsOf(pattern), q, "")
}

// MatchKeys is Match without the values.
func (c *Cache) MatchKeys(ctx context.Context, pattern Pattern) iter.Seq2[Key, error] {
	ctx = withVerb(ctx, "MatchKeys")
	return func(yield func(Key, error) bool) {
		q := query{want: "keys", pattern: pattern, limit: c.options.PageLimit}
		for entry, err := range c.merge(ctx, c.shardsOf(pattern), q, "") {
			if !yield(entry.Key, err) {
				return
			}
		}
	}
}

// Collect returns all records that Match meets. It holds them in memory.
func (c *Cache) Collect(ctx context.Context, pattern Pattern) ([]Entry, error) {
	ctx = withVerb(ctx, "Collect")
	var entries []Entry
	for entry, err := range c.Match(ctx, pattern) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Page returns one page of the records that match. The cursor of a page holds no
// state on the server. A page is one atomic snapshot and one round trip, two if it
// met stale index entries. At Options.PageReads or CallBytes it ends short, even
// empty, and with a cursor. If the pattern asks several shards, each call to one of
// them is a snapshot, and the page ends at its limit or CallBytes alone.
func (c *Cache) Page(ctx context.Context, pattern Pattern, options PageOptions) (page Page, err error) {
	ctx = withVerb(ctx, "Page")
	q := query{want: "values", pattern: pattern, limit: cmp.Or(options.Limit, c.options.PageLimit)}
	if options.WithTTL {
		q.want = "records"
	}
	if options.After != nil {
		after, err := options.After.encode("")
		if err != nil || options.Cursor != "" {
			return Page{}, cmp.Or(err, fmt.Errorf("%w: a page has a Cursor or After, not both", ErrBadArgument))
		}
		options.Cursor = ">" + pattern.lead() + after
	}
	shards := c.shardsOf(pattern)
	if len(shards) == 1 {
		reply, err := c.page(ctx, shards[0], q, options.Cursor)
		return reply.Page, err
	}
	bytes := 0
	for entry, err := range c.merge(ctx, shards, q, options.Cursor) {
		if err != nil {
			return Page{}, err
		}
		encoded := entry.Key.String()
		bytes += len(encoded) + len(entry.Value)
		if n := len(page.Entries); n > 0 && (n >= q.limit || bytes > c.options.CallBytes) {
			page.Cursor = "[" + pattern.lead() + encoded // each shard goes on from there
			break
		}
		page.Entries = append(page.Entries, entry)
	}
	return page, nil
}

// Count returns how many live records match. It takes a round trip, and an atomic
// snapshot, for each Options.PageReads index entries that are read.
func (c *Cache) Count(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "Count")
	q := query{want: "count", pattern: pattern, limit: c.options.PageReads}
	return c.sumPages(ctx, q, func(reply matchReply) (int, error) { return reply.count, nil })
}

// DeleteMatch deletes the records that match and returns how many they were.
// It finds up to Options.CallRecords of them in a shard and then deletes those at
// once: a reader sees all of them or none. If there are more, it goes on in further
// rounds. It finds them on masters, and works when the memory is full.
func (c *Cache) DeleteMatch(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "DeleteMatch")
	return c.onMatches(ctx, pattern, c.delete)
}

// TouchMatch gives the records that match a new TTL and returns how many they
// were. It works in rounds as DeleteMatch does.
func (c *Cache) TouchMatch(ctx context.Context, ttl time.Duration, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "TouchMatch")
	argument, err := ttlArgument(ttl)
	if err != nil {
		return 0, err
	}
	return c.onMatches(ctx, pattern, func(ctx context.Context, names []string) (int, error) {
		args := slices.Repeat([]any{"touch " + argument, "*", ""}, len(names)-1)
		return c.loader.run(ctx, putScript, names, args...).Int()
	})
}

// Sweep looks for the record of each index entry of the namespace, drops the
// entries whose record is gone, and returns how many they were. It makes many
// short calls, to masters, and touches no record. A namespace that records are put
// into keeps itself clean; only one to which nobody puts any more needs a Sweep.
func (c *Cache) Sweep(ctx context.Context) (int, error) {
	ctx = withVerb(ctx, "Sweep")
	q := query{want: "count", pattern: everything, limit: c.options.PageReads, fromMaster: true, sweep: true}
	if c.options.DeclaredKeys {
		q.want = "index" // all of them are suspects
	}
	swept := func(reply matchReply) (int, error) { return reply.swept, reply.sweepErr }
	records, err := c.sumPages(ctx, q, swept)
	if err != nil {
		return records, err
	}
	q.pattern = q.pattern.Leases()
	leases, err := c.sumPages(ctx, q, swept)
	return records + leases, err
}

// sumPages adds up what f returns for each page, in all shards at a time.
func (c *Cache) sumPages(ctx context.Context, q query, f func(matchReply) (int, error)) (int, error) {
	return sum(ctx, c.shardsOf(q.pattern), func(ctx context.Context, shard int) (total int, err error) {
		for reply, err := range c.pages(ctx, shard, q, "") {
			n, failure := f(reply)
			if total += n; cmp.Or(err, failure) != nil {
				return total, cmp.Or(err, failure)
			}
		}
		return total, nil
	})
}

// onMatches does the action on all records that match, in all shards at a time
// and Options.CallRecords a call. It goes by the index alone: the action looks
// whether a record is live.
func (c *Cache) onMatches(
	ctx context.Context, pattern Pattern, act func(ctx context.Context, names []string) (int, error),
) (int, error) {
	return sum(ctx, c.shardsOf(pattern), func(ctx context.Context, shard int) (total int, err error) {
		names := []string{c.layout.Index(shard)}
		flush := func() error {
			if len(names) == 1 {
				return nil
			}
			n, err := act(ctx, names)
			total, names = total+n, names[:1]
			return err
		}
		q := query{want: "index", pattern: pattern, limit: c.options.PageLimit, fromMaster: true}
		for entry, err := range c.entries(ctx, shard, q, "") {
			if err != nil {
				return total, err
			}
			names = append(names, c.layout.shards[shard].prefix+pattern.lead()+entry.Key.String())
			if len(names) == 1+c.options.CallRecords {
				if err := flush(); err != nil {
					return total, err
				}
			}
		}
		return total, flush()
	})
}

// query is what match.lua is asked for, page by page.
type query struct {
	want       string // values, records, keys, count, list or index
	pattern    Pattern
	limit      int
	first      int  // the limit of the first page, if it is another; it doubles
	fromMaster bool // as a verb must that will write what it finds
	sweep      bool // the stale entries, even with Options.LeaveStale
}

// matchReply is a reply of match.lua.
type matchReply struct {
	Page
	count    int      // for want=count, in place of entries
	stale    []string // encoded keys
	swept    int      // how many of them sweep.lua dropped
	sweepErr error
}

// entries yields the matches in one shard, page by page, from a cursor on.
func (c *Cache) entries(ctx context.Context, shard int, q query, cursor string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for reply, err := range c.pages(ctx, shard, q, cursor) {
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range reply.Entries {
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}

// pages yields the pages in one shard, from a cursor on.
func (c *Cache) pages(ctx context.Context, shard int, q query, cursor string) iter.Seq2[matchReply, error] {
	return func(yield func(matchReply, error) bool) {
		most := q.limit
		q.limit = cmp.Or(q.first, most)
		for more := true; more; more = cursor != "" {
			reply, err := c.page(ctx, shard, q, cursor)
			if !yield(reply, err) || err != nil {
				return
			}
			cursor, q.limit = reply.Cursor, min(2*q.limit, most)
		}
	}
}

// page asks for one page, and has the stale entries that it met swept. It is right
// with or without that: if the sweep fails, the next page that meets them asks for
// another.
func (c *Cache) page(ctx context.Context, shard int, q query, cursor string) (matchReply, error) {
	reply, err := c.ask(ctx, shard, q, cursor)
	if q.sweep {
		for _, entry := range reply.Entries {
			reply.stale = append(reply.stale, q.pattern.lead()+entry.Key.String())
		}
	}
	if len(reply.stale) > 0 && (q.sweep || !c.options.LeaveStale) {
		names := []string{c.layout.Index(shard)}
		for _, encoded := range reply.stale {
			names = append(names, c.layout.shards[shard].prefix+encoded)
		}
		reply.swept, reply.sweepErr = c.loader.run(ctx, sweepScript, names).Int()
	}
	return reply, err
}

// ask calls match.lua.
func (c *Cache) ask(ctx context.Context, shard int, q query, cursor string) (m matchReply, err error) {
	if err := q.pattern.check(); err != nil {
		return m, err
	}
	want := q.want
	if c.options.DeclaredKeys {
		if want = "index"; !slices.Contains([]string{"values", "keys", "index"}, q.want) {
			return m, fmt.Errorf("%w: want=%s of match.lua takes keys that Options.DeclaredKeys forbids", ErrBadArgument, q.want)
		}
	}
	args := []any{want, cursor, q.limit, c.options.PageReads, c.options.CallBytes}
	for _, term := range q.pattern.terms {
		args = append(args, term.argument)
	}
	run := c.loader.runReadOnly
	if q.fromMaster {
		run = c.loader.run
	}
	reply, err := run(ctx, matchScript, []string{c.layout.Index(shard)}, args...).Slice()
	if err != nil || len(reply) != 4 {
		return m, cmp.Or(err, unexpectedReply(matchScript, reply))
	}
	next, isText := reply[0].(string)
	stale, errStale := redis.NewCmdResult(reply[2], nil).StringSlice()
	count, isCount := reply[3].(int64)
	results, isList := reply[3].([]any)
	// A cursor goes back only where the index holds other scores than 0.
	back := next != "" && cursor != "" && (next == cursor || next[1:] < cursor[1:])
	if !isText || errStale != nil || isCount == isList || isCount != (q.want == "count") || back {
		return m, unexpectedReply(matchScript, reply)
	}
	m.Cursor, m.stale, m.count = next, stale, int(count)
	width := map[string]int{"values": 2, "records": 3}[want]
	for result := range slices.Chunk(results, max(width, 1)) {
		encoded, _ := result[0].(string)
		encoded = strings.TrimPrefix(encoded, q.pattern.lead())
		above, beneath := strings.CutSuffix(encoded, ":")
		key, err := ParseKey(above)
		if err != nil || beneath && want != "list" { // it was not written by a Cache
			continue
		}
		entry := Entry{Key: key}
		if beneath {
			entry.Key = append(key, "") // whose text is that of match.lua
		}
		if width > 1 {
			value, _ := result[1].(string)
			entry.Value = []byte(value)
		}
		if width > 2 {
			left, _ := result[2].(int64)
			entry.TTL = ttlOf(left)
		}
		m.Entries = append(m.Entries, entry)
	}
	if want != q.want && len(m.Entries) > 0 {
		m.Entries, err = c.withValues(ctx, shard, q.pattern.lead(), m.Entries)
	}
	return m, err
}

// ttlOf returns the TTL for a reply of PTTL.
func ttlOf(milliseconds int64) time.Duration {
	if milliseconds < 0 {
		return NoExpiry
	}
	return time.Duration(min(max(milliseconds, 1), int64(MaxTTL/time.Millisecond))) * time.Millisecond
}

func (c *Cache) checkNumber(keys []Key) error {
	if len(keys) > c.options.CallRecords {
		return fmt.Errorf("%w: %d, and Options.CallRecords is %d", ErrTooMany, len(keys), c.options.CallRecords)
	}
	return nil
}
