// Package writer writes to a Wildkey cache in the background. Each shard has its own
// queue, so a node that does not answer delays only its own shards. The calls of a shard
// run in the order in which they were queued: DeleteMatch deletes records that were put
// before it and none that are put after it.
//
// # When a call fails
//
//   - The queues are only in memory. A program that ends without Close loses them.
//   - The Writer does not retry failed calls, and goes on with the next ones. go-redis
//     retries up to redis.Options.MaxRetries times.
//   - Merged calls do not share a refusal. If the server answers with an error (NOPERM,
//     BADARG, OOM, TRYAGAIN), the Writer sends the two halves of a merged call again,
//     until each refused call is alone. One refused call among n costs 2 log n more
//     calls, and n cost 2 n. If the server accepts no writes at all (LOADING, READONLY,
//     MASTERDOWN, CLUSTERDOWN, NOREPLICAS, too many clients) and the retries of go-redis
//     fail, the whole merged call fails.
//   - Merged calls share a lost reply. If the connection breaks or the server does not
//     answer in time, the outcome of all of them is unknown. They may still run, even
//     after later calls.
//   - The Writer never splits a single call: it happens completely or not at all.
//   - Options.OnError gets each failure once. To get the outcome of your own call, make
//     it through Waiting. Flush does not return failures.
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

// ErrClosed means that a call came after Close, or that Close dropped it. Nothing of the
// call was sent.
var ErrClosed = errors.New("wildkey: writer is closed")

// Options are the settings of a Writer.
type Options struct {
	// Queue is the number of calls that may wait in each shard. When a queue is full, it
	// blocks callers until there is room; other shards go on. DeleteMatch and TouchMatch
	// have twice the room, since they are small but may need room in every shard at once.
	// So each shard holds the values of at most Queue waiting calls, plus the merged call
	// under way. Default: 1,024. With more than 16 shards it is 16,384 divided by their
	// number, but at least 16.
	Queue int
	// OnError is called when calls have failed, by one goroutine at a time: a shard's or
	// the caller of Close. It gets the failures of a shard in order, except that calls
	// dropped by Close may come before calls under way. While it runs, its shard waits,
	// and so do Close and other shards with a failure to report. It must not wait for the
	// Writer: it must not call Flush, Close or Waiting, and it may queue calls only with a
	// context that ends. Default: log.Printf.
	OnError func(Failure)
}

// Failure describes work that failed: the operations of one call or of several merged
// calls, or a pattern in one shard. Some matches of a pattern may be done already.
type Failure struct {
	Err     error
	Shard   int
	Ops     []wildkey.Op    // empty for a pattern
	Pattern wildkey.Pattern // of DeleteMatch or TouchMatch
	TTL     time.Duration   // of TouchMatch
}

// Stats counts calls since New. A pattern counts once for each shard that it asks. Queued
// and Longest go up and down; the others only go up.
type Stats struct {
	Queued  int // calls that wait or are under way
	Longest int // calls in the longest queue; callers block at Options.Queue
	Done    int // calls that succeeded
	Failed  int // calls that failed, or whose reply was lost
	Dropped int // calls that Close dropped before they were sent
}

// Writer does operations on a Cache in the background. It merges consecutive calls of a
// shard into one Apply, up to the Cache's Options.CallRecords and CallBytes or up to a
// repeated key. It never merges calls with a condition or KeepTTL, or patterns. A Writer
// is safe for concurrent use. Each shard with work has a goroutine and uses one
// connection; an idle Writer has neither.
type Writer struct {
	*state
	waits bool
}

// state is shared by a Writer and the Writers that its Waiting returns.
type state struct {
	cache   *wildkey.Cache
	options Options
	ctx     context.Context // for all calls to the Cache, which outlive their callers' contexts
	cancel  context.CancelFunc
	closing chan struct{} // closed by Close, to wake callers that wait for room

	telling sync.Mutex // held while OnError runs
	mu      sync.Mutex // guards what follows
	queues  map[int]*queue
	closed  bool
	stats   Stats
}

// queue is the work of one shard. It and its goroutine exist only while there is work.
type queue struct {
	waiting []*call
	sending []*call       // under way
	room    chan struct{} // closed when fewer calls wait
}

// call is the call of one caller, or the part of it in one shard.
type call struct {
	Failure                 // the work, and Err once it is done
	names   map[string]bool // the encoded keys of Ops
	bytes   int             // of Ops
	alone   bool            // never merged with other calls
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
// return its outcome. The call is queued and merged like any other, and OnError gets its
// failure too. If the context ends first, the call stays queued and may still be done.
func (w *Writer) Waiting() *Writer { return &Writer{w.state, true} }

// Put queues records, to be written all at once or not at all. It blocks while the queue
// of their shard is full. It queues nothing if the arguments are invalid, if the context
// ends first or after Close, and returns the error, the context's error or ErrClosed. Do
// not change keys and values until the call is done.
func (w *Writer) Put(ctx context.Context, records ...wildkey.Record) error {
	ops := make([]wildkey.Op, len(records))
	for i, record := range records {
		ops[i] = wildkey.OpPut(record)
	}
	return w.Apply(ctx, ops...)
}

// Delete queues records to be deleted, all at once. It blocks and returns errors like Put.
func (w *Writer) Delete(ctx context.Context, keys ...wildkey.Key) error {
	ops := make([]wildkey.Op, len(keys))
	for i, key := range keys {
		ops[i] = wildkey.OpDelete(key)
	}
	return w.Apply(ctx, ops...)
}

// Apply queues operations, to be done all at once or not at all. It blocks and returns
// errors like Put.
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

// DeleteMatch queues the deletion of all records that match when its turn comes, in each
// shard that the pattern asks. It enters all their queues at once, or none if the context
// ends while one of them is full. It returns errors like Put.
func (w *Writer) DeleteMatch(ctx context.Context, pattern wildkey.Pattern) error {
	return w.match(ctx, 0, pattern)
}

// TouchMatch queues a new TTL for all records that match when its turn comes. It queues
// and returns errors like DeleteMatch.
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

// Flush waits until all calls queued before it, by any caller, have succeeded or failed
// and OnError has returned. It returns only nil or the context's error. For the outcome
// of a call, see Waiting.
func (w *Writer) Flush(ctx context.Context) error {
	var calls []*call
	w.mu.Lock()
	for _, q := range w.queues {
		calls = append(append(calls, q.sending...), q.waiting...)
	}
	w.mu.Unlock()
	return await(ctx, calls)
}

// Close stops accepting calls and waits for the queued ones. It returns nil when all have
// been answered, even with errors. If the context ends first, Close drops the waiting
// calls, reports them to OnError (ErrClosed), cancels the calls under way and returns the
// context's error. It does not wait for calls under way: their goroutines end, and report
// to OnError, when the client gives up. That can take all of the client's timeouts.
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

// Stats returns the current counts.
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

// admit queues the calls, or returns a channel that closes when a full shard may have
// room again.
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
			most *= 2 // under a constant load of puts, all shards rarely have room at once
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

// work does the queued calls of a shard. Calls gather while one is under way, so merged
// calls grow with the load, and a single write never waits for others.
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
		s.send(q.sending) // only this goroutine changes it
	}
}

// fitting returns how many of the first calls fit into one Apply.
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

// send does the calls as one. If the server refuses, it sends the two halves. Merged calls
// have different keys and no conditions, so they may safely run twice or later.
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

// isOfRecords reports whether the server may accept a part of a call that it refused. That
// is not so if it does no writes at all: go-redis would then retry each half in vain.
func isOfRecords(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) &&
		!redis.IsMasterDownError(err) && !redis.IsClusterDownError(err) && !redis.IsNoReplicasError(err) &&
		!redis.IsMaxClientsError(err)
}

// finish counts the calls, reports a failure and then wakes the waiting callers.
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
