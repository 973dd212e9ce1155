// Package writer writes to a Wildkey cache in the background. Each shard has a queue
// of its own, so a node that does not answer holds up its own shards alone. Calls of
// a shard are done in the order in which they were queued: DeleteMatch deletes what
// was put before it, and nothing that is put after it.
//
// # When a call fails
//
//   - What is queued is in memory alone. A program that ends without Close loses it.
//   - The Writer repeats nothing. go-redis does, up to redis.Options.MaxRetries times.
//     A call that has failed is over, and those behind it are done.
//   - Calls are merged, but share no refusal: where the server answers with an error
//     (NOPERM, BADARG, OOM, TRYAGAIN), a merged call goes again as two halves, until
//     what is refused is alone. One such call among n costs 2 log n calls more, and n
//     cost 2 n. What go-redis has repeated in vain because the server does no writes at
//     all (LOADING, READONLY, MASTERDOWN, CLUSTERDOWN, NOREPLICAS, too many clients)
//     fails the whole.
//   - Calls that are merged share a lost answer: if the connection breaks or the
//     server does not answer in time, none of them is known to be done. They may be
//     done yet, and even after later ones.
//   - One caller's own call is never split: all of it is done, or nothing.
//   - Options.OnError hears of each failure, once. Who wants to hear of its own calls
//     makes them through Waiting. Flush returns nobody's failures.
package writer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// ErrClosed says that a call came after Close, or that Close dropped it: nothing of
// it was sent.
var ErrClosed = errors.New("wildkey: writer is closed")

// Options are the settings of a Writer.
type Options struct {
	// Queue is how many calls may wait in each shard. One more blocks its caller until
	// there is room, and callers of other shards go on. DeleteMatch and TouchMatch, which
	// are small but may need room in every shard at once, have twice the room. So at most
	// Queue calls of each shard wait with their values, besides the merged call that is
	// under way. Default: 1,024; with more than 16 shards 16,384 divided among them, but
	// at least 16.
	Queue int
	// OnError is called when calls have failed, by one goroutine at a time: that of a
	// shard, or Close. It hears of a shard's failures in order, but of what Close drops
	// perhaps before what is under way. While it runs, its shard waits, and any other
	// that has a failure to tell, and Close. It must not wait for the Writer: no Flush, no
	// Close, no Waiting, and what it queues needs a context that ends. Default: log.Printf.
	OnError func(Failure)
}

// Failure is what was not done: the operations of one call or of several that were
// merged, or a pattern in one shard, some of whose matches may be done.
type Failure struct {
	Err     error
	Shard   int
	Ops     []wildkey.Op    // empty: it was a pattern
	Pattern wildkey.Pattern // of DeleteMatch or TouchMatch
	TTL     time.Duration   // of TouchMatch
}

// Stats are counts of calls since New; a pattern counts once for each shard that it
// asks. Queued and Longest go up and down, the others only up.
type Stats struct {
	Queued  int // wait or are under way
	Longest int // wait in that shard where most do; at Options.Queue callers block
	Done    int // have succeeded
	Failed  int // have failed, or their answer was lost
	Dropped int // were given up by Close, before they were sent
}

// Writer does operations on a Cache in the background. Consecutive calls of a shard
// are merged into one Apply, up to Options.CallRecords and CallBytes of the Cache and
// up to a key that comes twice. Operations with a condition, or KeepTTL, go alone, as
// patterns do. A Writer is safe for concurrent use. A shard has a goroutine, and one
// connection in use, while it has work: an idle Writer has none.
type Writer struct {
	*state
	waits bool
}

// state is what a Writer shares with those that its Waiting returns.
type state struct {
	cache   *wildkey.Cache
	options Options
	ctx     context.Context // of all calls to the Cache: the callers' contexts end with theirs
	cancel  context.CancelFunc
	closing chan struct{} // closed by Close, for those who wait for room

	telling sync.Mutex // held while OnError runs
	mu      sync.Mutex // guards what follows
	queues  map[int]*queue
	closed  bool
	stats   Stats
}

// queue is the work of one shard. It exists, as its goroutine does, while there is any.
type queue struct {
	waiting []*call
	sending []*call       // under way
	room    chan struct{} // closed when fewer wait
}

// call is what one caller has queued, or its part in one shard.
type call struct {
	Failure                 // what there is to do, and Err once it is done
	names   map[string]bool // the encoded keys of Ops
	bytes   int             // of Ops
	alone   bool            // it is not merged with others
	done    chan struct{}   // closed after OnError has heard of a failure
}

// New returns a Writer to the Cache.
func New(cache *wildkey.Cache, options Options) *Writer {
	options.Queue = max(1, cmp.Or(options.Queue, min(1024, max(16, 16_384/cache.Layout().Shards()))))
	if options.OnError == nil {
		options.OnError = func(f Failure) {
			log.Printf("wildkey: writer: %d operations, pattern %q, shard %d: %v", len(f.Ops), f.Pattern, f.Shard, f.Err)
		}
	}
	s := &state{cache: cache, options: options, closing: make(chan struct{}), queues: map[int]*queue{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return &Writer{state: s}
}

// Waiting returns the same Writer, with verbs that wait until their call is done and
// return its own outcome; OnError hears of a failure as well. The call is queued and
// merged as any. If the context ends while it waits, it stays queued and may be done.
func (w *Writer) Waiting() *Writer { return &Writer{w.state, true} }

// Put queues records, to be written all at once or not at all. It blocks while the
// queue of their shard is full. It returns an error in the arguments, the context's
// error if it ends first, or ErrClosed: then nothing was queued. Keys and values must
// stay unchanged until the call is done.
func (w *Writer) Put(ctx context.Context, records ...wildkey.Record) error {
	ops := make([]wildkey.Op, len(records))
	for i, record := range records {
		ops[i] = wildkey.OpPut(record)
	}
	return w.Apply(ctx, ops...)
}

// Delete queues records to be deleted, all at once. It blocks and reports as Put does.
func (w *Writer) Delete(ctx context.Context, keys ...wildkey.Key) error {
	ops := make([]wildkey.Op, len(keys))
	for i, key := range keys {
		ops[i] = wildkey.OpDelete(key)
	}
	return w.Apply(ctx, ops...)
}

// Apply queues operations, to be done all at once or not at all. It blocks and
// reports as Put does.
func (w *Writer) Apply(ctx context.Context, ops ...wildkey.Op) error {
	if err := w.cache.Validate(ops...); err != nil || len(ops) == 0 {
		return err
	}
	failure := Failure{Shard: w.cache.Layout().Shard(ops[0].Key()), Ops: slices.Clone(ops)}
	c := &call{Failure: failure, names: map[string]bool{}}
	for _, op := range ops {
		name := op.Key().String()
		if c.names[name] { // put.lua would refuse it
			return fmt.Errorf("%w: %s comes twice", wildkey.ErrBadArgument, name)
		}
		c.names[name] = true
		c.bytes += op.Bytes()
		c.alone = c.alone || op.Conditional()
	}
	return w.enqueue(ctx, c)
}

// DeleteMatch queues the deletion of all records that match when its turn has come, in
// each shard that the pattern asks. It is queued in all of them at once, or, if the
// context ends while one is full, in none. It reports as Put does.
func (w *Writer) DeleteMatch(ctx context.Context, pattern wildkey.Pattern) error {
	return w.match(ctx, 0, pattern)
}

// TouchMatch queues a new TTL for all records that match when its turn has come. It is
// queued and reports as DeleteMatch does.
func (w *Writer) TouchMatch(ctx context.Context, ttl time.Duration, pattern wildkey.Pattern) error {
	if err := w.cache.Validate(wildkey.OpTouch(wildkey.K("any"), ttl)); err != nil {
		return err
	}
	return w.match(ctx, ttl, pattern)
}

func (w *Writer) match(ctx context.Context, ttl time.Duration, pattern wildkey.Pattern) error {
	if _, err := wildkey.ParsePattern(pattern.String()); err != nil { // such as Under of no key
		return err
	}
	var calls []*call
	for _, shard := range w.cache.Layout().ShardsOf(pattern) {
		calls = append(calls, &call{Failure: Failure{Shard: shard, Pattern: pattern, TTL: ttl}, alone: true})
	}
	return w.enqueue(ctx, calls...)
}

// Flush waits until all that was queued before it, by whomever, is done or has failed,
// and OnError has returned. It returns nil or the context's error, and no failure: see
// Waiting.
func (w *Writer) Flush(ctx context.Context) error {
	var calls []*call
	w.mu.Lock()
	for _, q := range w.queues {
		calls = append(append(calls, q.sending...), q.waiting...)
	}
	w.mu.Unlock()
	return await(ctx, calls)
}

// Close takes no more calls and waits for those that are queued. It returns nil when
// all have been sent and answered, be it with errors. If the context ends first, Close
// drops the calls that wait, tells OnError of them (ErrClosed), ends the context of
// those under way, and returns the context's error. It does not wait for these: their
// goroutines end, and tell OnError, when the client gives up, which may take it all its
// timeouts, as it looks at a context in between only if ContextTimeoutEnabled is set.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
	}
	w.mu.Unlock()
	err := w.Flush(ctx)
	if err == nil {
		return nil
	}
	w.mu.Lock()
	var waiting []*call
	for _, q := range w.queues {
		waiting = append(waiting, q.waiting...)
		q.waiting = nil
	}
	left := w.stats.Queued - len(waiting)
	w.mu.Unlock()
	w.cancel()
	if left+len(waiting) == 0 {
		return nil
	}
	for rest := waiting; len(rest) > 0; {
		n := w.fitting(rest)
		w.finish(rest[:n], fmt.Errorf("%w: dropped: %w", ErrClosed, err))
		rest = rest[n:]
	}
	return fmt.Errorf("wildkey: writer closed: %d calls dropped, %d under way: %w", len(waiting), left, err)
}

// Stats returns the counts of this moment.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	stats := w.stats
	for _, q := range w.queues {
		stats.Longest = max(stats.Longest, len(q.waiting))
	}
	return stats
}

// enqueue queues all of the calls, each in its shard, or none.
func (w *Writer) enqueue(ctx context.Context, calls ...*call) error {
	for _, c := range calls {
		c.done = make(chan struct{})
	}
	full, err := w.admit(ctx, calls)
	for full != nil {
		select {
		case <-full:
		case <-w.closing:
		case <-ctx.Done():
		}
		full, err = w.admit(ctx, calls)
	}
	if err != nil || !w.waits {
		return err
	}
	if err := await(ctx, calls); err != nil {
		return fmt.Errorf("wildkey: queued, and not known to be done: %w", err)
	}
	for _, c := range calls {
		err = cmp.Or(err, c.Err)
	}
	return err
}

// admit queues the calls, or returns what is closed when a shard that is full may be so
// no more.
func (s *state) admit(ctx context.Context, calls []*call) (full <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, c := range calls {
		most := s.options.Queue
		if len(c.Ops) == 0 {
			most *= 2 // under a constant load of puts, all shards would seldom have room together
		}
		if q := s.queues[c.Shard]; q != nil && len(q.waiting) >= most {
			return q.room, nil
		}
	}
	for _, c := range calls {
		q := s.queues[c.Shard]
		if q == nil {
			q = &queue{room: make(chan struct{})}
			s.queues[c.Shard] = q
			go s.work(c.Shard, q)
		}
		q.waiting = append(q.waiting, c)
	}
	s.stats.Queued += len(calls)
	return nil, nil
}

func await(ctx context.Context, calls []*call) error {
	for _, c := range calls {
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// work does what is queued in a shard. While a call is under way others gather, so that
// calls grow with the load and a single write is never held back.
func (s *state) work(shard int, q *queue) {
	for {
		s.mu.Lock()
		n := s.fitting(q.waiting)
		if n == 0 {
			delete(s.queues, shard)
			s.mu.Unlock()
			return
		}
		q.sending = slices.Clone(q.waiting[:n])
		q.waiting = slices.Delete(q.waiting, 0, n)
		close(q.room)
		q.room = make(chan struct{})
		s.mu.Unlock()
		s.send(q.sending) // which only this goroutine changes
	}
}

// fitting returns how many of the calls, from the first on, one Apply can do.
func (s *state) fitting(calls []*call) int {
	limits := s.cache.Options()
	names, ops, bytes := map[string]bool{}, 0, 0
	for n, c := range calls {
		maps.Copy(names, c.names)
		ops, bytes = ops+len(c.Ops), bytes+c.bytes
		if n > 0 && (c.alone || calls[0].alone || c.Shard != calls[0].Shard || len(names) < ops ||
			ops > limits.CallRecords || bytes > limits.CallBytes) {
			return n
		}
	}
	return len(calls)
}

// send does the calls as one, or, where it is refused, as two. Calls that are merged have
// different keys and no condition: it does not matter if one is done twice, or later.
func (s *state) send(calls []*call) {
	err := s.do(calls)
	if half := len(calls) / 2; half > 0 && isOfRecords(err) {
		s.send(calls[:half])
		s.send(calls[half:])
		return
	}
	s.finish(calls, err)
}

func (s *state) do(calls []*call) (err error) {
	switch first := calls[0]; {
	case len(first.Ops) > 0:
		_, err = s.cache.Apply(s.ctx, opsOf(calls)...)
	case first.TTL != 0:
		_, err = s.cache.OnShard(first.Shard).TouchMatch(s.ctx, first.TTL, first.Pattern)
	default:
		_, err = s.cache.OnShard(first.Shard).DeleteMatch(s.ctx, first.Pattern)
	}
	return err
}

func opsOf(calls []*call) (ops []wildkey.Op) {
	for _, c := range calls {
		ops = append(ops, c.Ops...)
	}
	return ops
}

// isOfRecords reports whether some of a call may be accepted where all of it was
// refused: the server has answered, and not that it does no writes at all, which
// go-redis would wait for again in each half.
func isOfRecords(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) &&
		!redis.IsMasterDownError(err) && !redis.IsClusterDownError(err) && !redis.IsNoReplicasError(err) &&
		!redis.IsMaxClientsError(err)
}

// finish counts the calls, tells of a failure, and then lets go who waits.
func (s *state) finish(calls []*call, err error) {
	s.mu.Lock()
	s.stats.Queued -= len(calls)
	switch {
	case err == nil:
		s.stats.Done += len(calls)
	case errors.Is(err, ErrClosed):
		s.stats.Dropped += len(calls)
	default:
		s.stats.Failed += len(calls)
	}
	s.mu.Unlock()
	if err != nil {
		failure := calls[0].Failure
		failure.Err, failure.Ops = err, opsOf(calls)
		s.telling.Lock()
		s.options.OnError(failure)
		s.telling.Unlock()
	}
	for _, c := range calls {
		c.Err = err
		close(c.done)
	}
}
