// Package writer writes to a Wildkey cache in the background. It merges calls, so
// that they grow with the load, and keeps their order.
package writer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wildkey/wildkey"
)

// ErrClosed is returned when a Writer is used after Close.
var ErrClosed = errors.New("wildkey: writer is closed")

// Options are the settings of a Writer.
type Options struct {
	// Queue is how many calls may wait. One more blocks its caller until there is
	// room. Default: 1,024.
	Queue int

	// OnError is called, from the Writer's goroutine, when a call has failed: none
	// of these operations was done, unless the connection broke and hid the reply.
	// It must not wait for the Writer: it must not call Flush or Close, nor Put or
	// Delete with a context that never ends. Without OnError, the next Flush or
	// Close returns the first error.
	OnError func(err error, ops []wildkey.Op)
}

// Writer does operations on a Cache in the background, in each shard in the order
// of its calls. Consecutive calls are merged into one Apply, up to
// Options.CallRecords and CallBytes of the Cache and up to a key that comes twice.
// Operations with a condition, or KeepTTL, go alone. The operations of one call are
// never split. A Writer is safe for concurrent use.
type Writer struct {
	cache   *wildkey.Cache
	options Options
	queue   chan write
	stopped chan struct{}
	mu      sync.Mutex // guards closed, which ends the growth of senders
	closed  bool
	senders sync.WaitGroup // calls that may yet put something into queue
	failure error          // the first unreported one, the worker's own until stopped
}

// write is one element of the queue: the operations of a call, or a flush.
type write struct {
	ops     []wildkey.Op
	names   map[string]bool // their encoded keys
	bytes   int
	shard   int
	alone   bool            // it has a condition, which must not hold up others
	flushed chan<- error    // where a flush is awaited
	gone    <-chan struct{} // closed when it is awaited no more
}

// New starts a Writer, and with it a goroutine that lasts until Close.
func New(cache *wildkey.Cache, options Options) *Writer {
	w := &Writer{cache: cache, options: options, stopped: make(chan struct{})}
	w.queue = make(chan write, max(0, cmp.Or(options.Queue, 1024)))
	go w.work()
	return w
}

// Put queues records, to be written all at once or not at all. It returns errors in
// the arguments; what the server says goes to OnError. It blocks while the queue is
// full, until the context ends. Keys and values must stay unchanged meanwhile.
func (w *Writer) Put(ctx context.Context, records ...wildkey.Record) error {
	ops := make([]wildkey.Op, len(records))
	for i, record := range records {
		ops[i] = wildkey.OpPut(record)
	}
	return w.Apply(ctx, ops...)
}

// Delete queues records to be deleted. It blocks and reports as Put does.
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
	item := write{ops: slices.Clone(ops), names: map[string]bool{}, shard: w.cache.Layout().Shard(ops[0].Key())}
	for _, op := range ops {
		name := op.Key().String()
		if item.names[name] { // put.lua would refuse it, and with it the calls that it is merged with
			return fmt.Errorf("%w: %s comes twice", wildkey.ErrBadArgument, name)
		}
		item.names[name] = true
		item.bytes += op.Bytes()
		item.alone = item.alone || op.Conditional()
	}
	return w.enqueue(ctx, item)
}

// Flush waits until all that was queued before it has been written or has failed.
// It returns the context's error if that ends first.
func (w *Writer) Flush(ctx context.Context) error {
	flushed := make(chan error)
	if err := w.enqueue(ctx, write{flushed: flushed, gone: ctx.Done()}); err != nil {
		return err
	}
	select {
	case err := <-flushed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close flushes the queue and ends the Writer.
func (w *Writer) Close() error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	if w.senders.Wait(); first {
		close(w.queue)
	}
	<-w.stopped
	return w.failure
}

func (w *Writer) enqueue(ctx context.Context, item write) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.senders.Add(1)
	w.mu.Unlock()
	defer w.senders.Done()
	select {
	case w.queue <- item:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work sends what is queued. While calls are under way others gather, so that
// calls grow with the load and a single write is never held back.
func (w *Writer) work() {
	defer close(w.stopped)
	for next := range w.queue {
		pending := make(map[int]write) // one call a shard
		for gathering := true; gathering; {
			if next.flushed != nil {
				w.send(pending)
				clear(pending)
				w.report(next)
			} else if !w.merge(pending, next) {
				w.send(pending)
				clear(pending)
				pending[next.shard] = next
			}
			select {
			case next, gathering = <-w.queue:
			default:
				gathering = false
			}
		}
		w.send(pending)
	}
}

// merge adds next to what is pending, if one call a shard can still do it all.
func (w *Writer) merge(pending map[int]write, next write) bool {
	if waiting, ok := pending[next.shard]; ok {
		limits := w.cache.Options()
		bytes := waiting.bytes + next.bytes
		if waiting.alone || next.alone || bytes > limits.CallBytes ||
			len(waiting.ops)+len(next.ops) > limits.CallRecords {
			return false
		}
		for name := range next.names {
			if waiting.names[name] {
				return false
			}
		}
		maps.Copy(waiting.names, next.names)
		next.ops, next.names, next.bytes = append(waiting.ops, next.ops...), waiting.names, bytes
	}
	pending[next.shard] = next
	return true
}

func (w *Writer) report(flush write) {
	select {
	case flush.flushed <- w.failure:
		w.failure = nil
	case <-flush.gone:
	}
}

// send makes the calls, to all shards at a time.
func (w *Writer) send(pending map[int]write) {
	var calls sync.WaitGroup
	var mu sync.Mutex // OnError is called by one goroutine at a time
	for _, item := range pending {
		calls.Add(1)
		go func() {
			defer calls.Done()
			_, err := w.cache.Apply(context.Background(), item.ops...) // the callers' contexts end with their calls
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if w.options.OnError != nil {
				w.options.OnError(err, item.ops)
			} else {
				w.failure = cmp.Or(w.failure, err)
			}
		}()
	}
	calls.Wait()
}
