// Package wildkey is a Redis cache with hierarchical keys that you find by wildcard.
// Atomic Lua scripts, the files in scripts/, do its writes and its matching. The Go code
// encodes keys, checks patterns and calls the scripts by digest.
//
// # Lost replies
//
// An atomic call happens completely or not at all. If a connection breaks or a server
// does not answer in time, the error does not tell which. go-redis then sends the call
// again, up to redis.Options.MaxRetries times, so it may run twice. This does no harm to
// reads, Delete, Touch, and Put without a condition. But Take may return ErrNotFound, and
// a condition may fail, because the first run already made the change. The example
// ExactlyOnce shows how to deal with that, and docs/failures.md explains what each verb
// reports.
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

// Client is the part of a Redis client that a Cache uses. *redis.Client,
// *redis.ClusterClient, *redis.Ring and redis.UniversalClient implement it, and so do
// types that embed one of them. Clients from redis.NewFailoverClient and from package
// luatest are *redis.Client too.
//
// A context deadline interrupts a running call only if the client's option
// ContextTimeoutEnabled is set. Without it, go-redis waits until ReadTimeout for the reply
// and only then gives up. It does the same after a context is cancelled, with or without
// the option.
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
	// Namespace separates the records of a Cache from all others. Default: "cache".
	Namespace string
	// TTL is the default for records without a TTL: NoExpiry, or at least a millisecond
	// (fractions of one are cut off). If it is not set, every record needs its own TTL.
	TTL time.Duration
	// Preloaded means that only operators load scripts on this server. The Cache loads
	// none, and returns ErrScriptMissing if one is missing.
	Preloaded bool
	// LeaveStale keeps reads from dropping the stale index entries that they meet. Set it
	// if the client may not write.
	LeaveStale bool
	// DeclaredKeys is for servers that let a script use only the keys that the call
	// declares. A page of a shard then takes two calls and is not a snapshot: match.lua
	// reads the index and MGET reads the records, for MatchKeys too. The limit of a page
	// also counts stale entries, so a page with a cursor may be short or even empty.
	// CallBytes does not limit the reply of the MGET, and FromMaster applies only to the
	// index. Count, List, WithTTL and admin.Move from such a Cache are ErrBadArgument.
	// Only Sweep and DeleteMatch drop stale index entries.
	DeclaredKeys bool
	// CallRecords is the maximum number of records in one atomic call, up to 10,000.
	// Default: 250, which blocks the server for a millisecond or two.
	CallRecords int
	// CallBytes is the maximum size in bytes of the keys and values that a page returns,
	// or that PutEach and package writer put into one call, up to 999,999,999. Default:
	// 1 MiB. A larger record gets a page or call of its own.
	CallBytes int
	// PageLimit is the maximum number of records in a page (default 500). PageReads is
	// the maximum number of index entries that the server reads for a page (default
	// 1,000). Both may be up to 99,999.
	PageLimit, PageReads int
	// Shards is the number of hash tags over which the namespace is spread: 1 (the
	// default) to 16,384. Each lies in one hash slot of a cluster. ShardSegments is the
	// number of leading segments of a key that choose its shard (default 1). All records
	// of one atomic call must lie in one shard. If a pattern does not fix those segments,
	// the Cache asks every shard, in parallel. All programs that use a namespace must
	// agree on both numbers. To change them, use admin.Move.
	Shards, ShardSegments int
}

// Entry is a record that a pattern has matched.
type Entry struct {
	Key   Key
	Value []byte
	// TTL is the remaining time to live, from a millisecond to MaxTTL, or NoExpiry. It is
	// 0 unless the call asked for it with WithTTL.
	TTL time.Duration
}

// Page is a part of the records that a pattern matches.
type Page struct {
	Entries []Entry
	Cursor  string // where the next page starts; empty after the last page
}

// PageOptions select a page.
type PageOptions struct {
	Cursor  string // from the previous page; empty: the first page
	After   Key    // instead of Cursor: start after this key, live or not
	Limit   int    // maximum number of records; 0: Options.PageLimit
	WithTTL bool   // return the remaining TTL of each record
}

// MatchOption changes how Match reads.
type MatchOption func(*query)

// WithTTL makes Match return the remaining TTL of each record. This costs the server one
// more lookup for each record.
func WithTTL() MatchOption { return func(q *query) { q.want = "records" } }

// FromMaster makes Match read from the master even if the client reads from replicas.
// Match then sees all earlier writes.
func FromMaster() MatchOption { return func(q *query) { q.fromMaster = true } }

// Cache is a namespace of records on a Redis server or cluster. It is safe for concurrent
// use. It does not own or close its client. Only calls that ask several shards start
// goroutines, and these end before the call returns.
//
// While a slot moves between nodes of a cluster, a call either finds all of its keys on
// one of them, or writes nothing and fails with TRYAGAIN (redis.IsTryAgainError). A verb
// that makes several calls, such as DeleteMatch, may stop between two of them.
type Cache struct {
	client  Client
	loader  *loader
	options Options
	layout  Layout
	only    *int // the only shard that patterns search; nil: all
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

// Options returns the settings in force, defaults included.
func (c *Cache) Options() Options { return c.options }

// Layout returns the layout of the Cache's Redis keys.
func (c *Cache) Layout() Layout { return c.layout }

// OnShard returns the same Cache, limited to one shard, 0 to Options.Shards-1: patterns
// find only records of that shard, and Sweep sweeps only that shard. Calls that name keys
// are not limited.
func (c *Cache) OnShard(shard int) *Cache {
	one := *c
	one.only = &shard
	return &one
}

// Load loads all scripts on every node, replicas included. With Options.Preloaded it only
// checks that they are there. It returns an error if a node is down, unless a *redis.Ring
// has already excluded that server. Load is optional: verbs load the scripts they need.
func (c *Cache) Load(ctx context.Context) error {
	ctx = withVerb(ctx, "Load")
	for _, script := range Scripts() {
		if err := c.loader.provide(ctx, script); err != nil {
			return err
		}
	}
	return nil
}

// Get returns the value of the record, or ErrNotFound. It is a single GET.
func (c *Cache) Get(ctx context.Context, key Key) ([]byte, error) {
	ctx = withVerb(ctx, "Get")
	name, err := c.layout.Record(key)
	if err != nil {
		return nil, err
	}
	return valueOf("GET", c.client.Get(ctx, name))
}

// GetTouch gives the record a new TTL and returns its value, or returns ErrNotFound. It
// is a single GETEX.
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
		ttl = 0 // go-redis sends PERSIST
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

// TTL returns the remaining TTL of the record, from a millisecond to MaxTTL, or NoExpiry.
// It returns ErrNotFound if there is no live record. It is a single PTTL.
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
	case left == -2: // go-redis returns the codes of PTTL as nanoseconds
		return 0, ErrNotFound
	case left == -1:
		return NoExpiry, nil
	case left < 0 || left%time.Millisecond != 0: // the milliseconds overflowed the Duration
		return MaxTTL, nil
	}
	return max(left, time.Millisecond), nil
}

// GetMany returns the value of each key, in the order of the keys. A value is nil if there
// is no record, and empty but not nil if the record's value is empty. GetMany sends one
// MGET, which is an atomic snapshot, to each shard that holds some of the keys.
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

// Delete deletes the records, all at once, and returns how many of them were live. It
// also works on a server whose memory is full. It takes one round trip.
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

// Take deletes the record and returns its last value, or ErrNotFound. Only one of several
// concurrent calls gets the value. It takes one round trip.
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

// Match returns an iterator over the records that match, with their values, in byte order
// of their encoded keys. Each page is one round trip and one atomic snapshot, but the
// whole iteration is not. A record that lives from start to end comes exactly once, any
// other at most once. An error ends the iteration. If the pattern asks several shards,
// Match holds up to a page of each in memory.
func (c *Cache) Match(ctx context.Context, pattern Pattern, options ...MatchOption) iter.Seq2[Entry, error] {
	ctx = withVerb(ctx, "Match")
	q := query{want: "values", pattern: pattern, limit: c.options.PageLimit}
	for _, option := range options {
		option(&q)
	}
	return c.merge(ctx, c.shardsOf(pattern), q, "")
}

// MatchKeys is like Match but yields only the keys.
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

// Collect returns all records that Match yields.
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

// Page returns one page of the records that match. A cursor holds no state on the server.
// A page is one atomic snapshot and takes one round trip, or two if it meets stale index
// entries. A page that reaches Options.PageReads or CallBytes ends early with a cursor and
// may even be empty. If the pattern asks several shards, each call to one of them is a
// snapshot of its own, and only the limit and CallBytes end the page.
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
			page.Cursor = "[" + pattern.lead() + encoded // each shard continues there
			break
		}
		page.Entries = append(page.Entries, entry)
	}
	return page, nil
}

// Count returns how many live records match. For every Options.PageReads index entries it
// takes one round trip, which is an atomic snapshot.
func (c *Cache) Count(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "Count")
	q := query{want: "count", pattern: pattern, limit: c.options.PageReads}
	return c.sumPages(ctx, q, func(reply matchReply) (int, error) { return reply.count, nil })
}

// DeleteMatch deletes the records that match and returns how many it deleted. In each
// shard it works in rounds: it finds up to Options.CallRecords records and then deletes
// them at once, so a reader sees either all of them or none. It reads from masters and
// also works when memory is full.
func (c *Cache) DeleteMatch(ctx context.Context, pattern Pattern) (int, error) {
	ctx = withVerb(ctx, "DeleteMatch")
	return c.onMatches(ctx, pattern, c.delete)
}

// TouchMatch gives the records that match a new TTL and returns how many it touched. It
// works in rounds like DeleteMatch.
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

// Sweep drops all stale index entries, whose records are gone, and returns how many it
// dropped. It reads the whole index in many short calls to masters and changes no record.
// A namespace that receives new records cleans itself. Only one that receives no more
// needs a Sweep.
func (c *Cache) Sweep(ctx context.Context) (int, error) {
	ctx = withVerb(ctx, "Sweep")
	q := query{want: "count", pattern: everything, limit: c.options.PageReads, fromMaster: true, sweep: true}
	if c.options.DeclaredKeys {
		q.want = "index" // sweep.lua looks for all the records
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

// sumPages adds up the results of f for all pages of all shards, in parallel.
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

// onMatches does the action on all records that match, in all shards in parallel, with
// Options.CallRecords records a call. It reads only the index; the action checks which
// records are live.
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

// query is a question to match.lua, asked page by page.
type query struct {
	want       string // values, records, keys, count, list or index
	pattern    Pattern
	limit      int
	first      int  // the limit of the first page, if not 0; it doubles up to limit
	fromMaster bool // needed to write to the matches
	sweep      bool // drop stale entries even with Options.LeaveStale
}

// matchReply is a reply of match.lua.
type matchReply struct {
	Page
	count    int      // for want=count, instead of entries
	stale    []string // encoded keys
	swept    int      // how many stale entries sweep.lua dropped
	sweepErr error
}

// entries yields the matches in one shard, page by page, starting at a cursor.
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

// pages yields the pages of one shard, starting at a cursor.
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

// page asks for one page and sweeps the stale entries that it met. A failed sweep does
// not make the page wrong: the next page that meets these entries sweeps again.
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
			return m, fmt.Errorf("%w: want=%s of match.lua uses undeclared keys, which Options.DeclaredKeys rules out", ErrBadArgument, q.want)
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
	// A cursor goes back only if the index holds scores other than 0.
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
		if err != nil || beneath && want != "list" { // no Cache wrote this entry
			continue
		}
		entry := Entry{Key: key}
		if beneath {
			entry.Key = append(key, "") // so that Key.String ends in a colon as in match.lua
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
