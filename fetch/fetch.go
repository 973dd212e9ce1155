// Package fetch gets records from the cache. If a record is missing, one caller among all
// processes loads it and puts it into the cache.
//
//	fetcher, err := fetch.New(cache, fetch.Options{})
//	name, err := fetcher.Get(ctx, wildkey.K("user", 42, "name"), func(ctx context.Context) (fetch.Loaded, error) {
//		name, err := db.UserName(ctx, 42)
//		return fetch.Loaded{Value: []byte(name)}, err
//	})
//
// # What a lease guards
//
// The caller that loads a record holds its lease, a value beside the record that names
// the caller. A Fetcher's Put, Apply and Delete void the leases of the records they change
// in the same atomic call. Take and DeleteMatch void them in an earlier call. A loaded
// value is stored only while its own lease is there. So a value that was read before an
// invalidation is not stored after it, and nobody else loads while the lease lives.
//
// The verbs of wildkey.Cache ignore leases. If one program fetches a record while another
// deletes it with a Cache, the old value may be stored after the deletion. So write and
// invalidate fetched records with a Fetcher. Touch changes no value and voids no lease.
//
// # How long
//
// A lease lives for Options.Lease. When it ends, so does the context of the Load. A Load
// that ignores its context can still return its value, but the value is not stored, and
// another caller may load in the meantime. Make Options.Lease longer than the slowest
// load. If a loader dies, others wait this long. Redis may evict a lease like any key with
// a TTL, and evicts it first under volatile-ttl. Then two callers may load at once, and
// the first one stores nothing.
package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// Options are the settings of a Fetcher.
type Options struct {
	// Lease is how long a load may take: at least a millisecond. Then the context of the
	// Load ends, and its value is not stored. Default: 10 seconds.
	Lease time.Duration
	// Negative is how long the Fetcher remembers that a Load returned wildkey.ErrNotFound.
	// 0: not at all.
	Negative time.Duration
	// RefreshAhead is a share of the cache's Options.TTL, from 0 to 1. A record with less
	// time left is loaded again in the background, while callers get the old value. 0:
	// never. Only one hit in a hundred checks the time left, so this helps records that are
	// hit often. A record whose own TTL is shorter than the share is loaded again on each
	// such hit.
	RefreshAhead float64
	// EndWithCaller ends the context of a Load when the last caller in this process that
	// waits for it has given up. Otherwise the load goes on, and its value is stored.
	EndWithCaller bool
}

// Loaded is what a Load returns.
type Loaded struct {
	Value []byte
	TTL   time.Duration // as of a wildkey.Record; 0: Options.TTL of the cache
}

// Load reads a record from its source. Its context has the values of the caller's context
// but ends after Options.Lease. It ends with the callers only if Options.EndWithCaller is
// set. A Load returns wildkey.ErrNotFound if there is no such thing. It must not Get its
// own key.
type Load func(ctx context.Context) (Loaded, error)

// Fetcher fetches records of a Cache. It is safe for concurrent use.
type Fetcher struct {
	cache   *wildkey.Cache
	options Options
	counts  counts

	mu      sync.Mutex
	flights map[string]*flight // by encoded key

	// Tests replace these to decide when a pause ends and which hits check the time left.
	pause  func(ctx context.Context, d time.Duration) error
	sample func() bool
}

// New returns a Fetcher of the records of a Cache. It sends nothing to the server.
func New(cache *wildkey.Cache, options Options) (*Fetcher, error) {
	if cache == nil {
		return nil, errors.New("wildkey: fetch: the cache is nil")
	}
	if cache.Options().CallRecords < 2 {
		return nil, errors.New("wildkey: fetch: the cache's Options.CallRecords is 1; a record and its lease are two")
	}
	options.Lease = cmp.Or(options.Lease, 10*time.Second)
	if options.Lease == wildkey.NoExpiry {
		return nil, fmt.Errorf("%w: fetch: Lease is NoExpiry; a process that dies would block the others forever", wildkey.ErrInvalidTTL)
	}
	if options.Lease < time.Millisecond {
		return nil, fmt.Errorf("%w: fetch: Lease is %v, below a millisecond", wildkey.ErrInvalidTTL, options.Lease)
	}
	if options.Negative != 0 && options.Negative < time.Millisecond {
		return nil, fmt.Errorf("%w: fetch: Negative is %v, below a millisecond", wildkey.ErrInvalidTTL, options.Negative)
	}
	if !(options.RefreshAhead >= 0 && options.RefreshAhead <= 1) { // nor not a number
		return nil, fmt.Errorf("wildkey: fetch: RefreshAhead is %v, but must be 0 to 1", options.RefreshAhead)
	}
	ttl := cache.Options().TTL
	if options.RefreshAhead > 0 && (ttl == 0 || ttl == wildkey.NoExpiry) {
		return nil, errors.New("wildkey: fetch: RefreshAhead is a share of the cache's Options.TTL, which has none")
	}
	return &Fetcher{cache: cache, options: options, flights: map[string]*flight{}, pause: pause, sample: sample}, nil
}

// Get returns the value of the record. If there is none, one caller among all processes
// calls its Load, and Get returns the result or error of the Load, including
// wildkey.ErrNotFound. Get returns other errors of the server without calling the Load.
//
// A hit is one GET. A miss is a GET, the call that takes the lease, the Load, and the
// call that stores its value. A caller that does not get the lease asks again, in pauses
// that grow to about a quarter of a second, until there is a value or the lease is free.
// If the server refuses leases because its memory is full, it is a replica or the slot is
// moving, every process loads for itself and stores nothing.
//
// Get stops waiting when ctx ends. Concurrent calls for a key in one process share the
// Load of the first call. If a Load panics, its lease is given back, and every waiting
// caller panics with a string that holds the message and stack.
func (f *Fetcher) Get(ctx context.Context, key wildkey.Key, load Load) ([]byte, error) {
	for {
		value, err := f.cache.Get(ctx, key)
		if err == nil {
			f.refreshAhead(ctx, key, value, load)
		}
		if !isNothing(err) {
			return value, err
		}
		if value, ok, err := f.join(ctx, key, load); ok {
			return value, err
		}
	}
}

func isNothing(err error) bool { return errors.Is(err, wildkey.ErrNotFound) }

// none is the text of a lease that means that there is nothing to load.
const none = "none"

// fetch loads the record or waits for another process that does.
func (f *Fetcher) fetch(ctx context.Context, own *flight, key wildkey.Key, load Load) ([]byte, error) {
	for wait := time.Duration(0); ; wait = min(max(2*wait, firstWait), longestWait) {
		if wait > 0 {
			f.counts.waits.Add(1)
			if err := f.pause(ctx, wait); err != nil {
				return nil, err
			}
		}
		lease := f.newLease(key)
		_, err := f.cache.Apply(ctx, wildkey.OpCheck(key).If(wildkey.Absent()), lease.take())
		var failed *wildkey.ConditionError
		switch {
		case err == nil:
			return f.load(ctx, own, lease, load, wildkey.Absent())
		case !errors.As(err, &failed):
			if ctx.Err() != nil || !refusesLeases(err) {
				f.drop(ctx, lease) // the answer may be lost, and the call done
				return nil, err
			}
			f.counts.unleased.Add(1)
			loaded, err := f.call(ctx, own, load)
			return loaded.Value, err
		case failed.Index == 0: // there is a record by now
			f.beginRead(own, false)
			if value, err := f.onMaster(ctx, only(key)); err != nil || value != nil {
				return value, err
			}
			// The index does not have it, or it has just gone.
			if value, err := f.cache.Get(ctx, key); !isNothing(err) {
				return value, err
			}
			continue
		}
		f.beginRead(own, false)
		switch held, err := f.onMaster(ctx, only(key).Leases()); {
		case err != nil:
			return nil, err
		case string(held) == none:
			return nil, wildkey.ErrNotFound
		case string(held) == lease.token: // the call was done twice, as its first answer was lost
			return f.load(ctx, own, lease, load, wildkey.Absent())
		}
	}
}

// refusesLeases reports whether a server refused a lease only because it is full, is a
// replica or is moving the slot. It may still serve reads.
func refusesLeases(err error) bool {
	return redis.IsOOMError(err) || redis.IsReadOnlyError(err) || redis.IsTryAgainError(err)
}

// onMaster returns the one value that the pattern finds, or nil. A replica may not know
// yet what was just written.
func (f *Fetcher) onMaster(ctx context.Context, pattern wildkey.Pattern) (value []byte, err error) {
	for entry, err := range f.cache.Match(ctx, pattern, wildkey.FromMaster()) {
		if err != nil {
			return nil, err
		}
		value = entry.Value
	}
	return value, nil
}

// only returns the pattern that matches the key and nothing else.
func only(key wildkey.Key) wildkey.Pattern {
	terms := make([]wildkey.Term, len(key))
	for i, segment := range key {
		terms[i] = wildkey.Lit(segment)
	}
	pattern, _ := wildkey.NewPattern(terms...) // of an invalid key it is invalid, and says so when it is used
	return pattern
}

// Waiting callers pause for firstWait and then twice as long each time, up to longestWait.
const (
	firstWait   = 4 * time.Millisecond
	longestWait = 256 * time.Millisecond
)

// pause waits for about d. The jitter keeps waiting callers from asking all at once.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + mathrand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
