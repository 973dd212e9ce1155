package wildkey

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// WriterOptions are the settings of a Writer.
type WriterOptions struct {
	// Queue is how many calls of Put and Delete may wait; one more blocks its
	// caller until there is room. Default: 1,024.
	Queue int

	// OnError is called, from the Writer's goroutine, when a call has failed:
	// none of these records was written, or none of these keys deleted, unless
	// the connection broke and hid the reply. It must not wait for the Writer:
	// not call Flush or Close, nor Put or Delete with a context that never
	// ends. Without OnError, the next Flush or Close returns the first error.
	OnError func(err error, records []Record, keys []Key)
}

// Writer writes to a Cache in the background, in each shard in the order of its
// calls. Consecutive puts go as one call of put.lua, up to Options.MaxRecords and
// PageBytes, and consecutive deletes as one of delete.lua, up to MaxRecords; a Put
// with a condition goes alone. What one Put was given is never split. It is safe
// for concurrent use.
type Writer struct {
	cache   *Cache
	options WriterOptions
	queue   chan write
	stopped chan struct{}
	mu      sync.Mutex // guards closed, which ends the growth of senders
	closed  bool
	senders sync.WaitGroup // calls that may yet put something into queue
	failure error          // the first unreported one, the worker's own until stopped
}

// write is one element of the queue: a put, a delete, or a flush.
type write struct {
	records []Record
	bytes   int // of the records
	keys    []Key
	shard   *shard
	alone   bool            // a put whose condition must not hold up others
	flushed chan<- error    // where a flush is awaited
	gone    <-chan struct{} // closed when it is awaited no more
}

// NewWriter starts a Writer, and with it a goroutine that lasts until Close.
func NewWriter(cache *Cache, options WriterOptions) *Writer {
	w := &Writer{cache: cache, options: options, stopped: make(chan struct{})}
	w.queue = make(chan write, max(0, cmp.Or(options.Queue, 1024)))
	go w.work()
	return w
}

// Put queues records, to be written as Cache.Put does. Invalid arguments are
// returned; what the server says goes to OnError. It blocks while the queue is
// full, which the context bounds. Keys and values must stay unchanged meanwhile.
func (w *Writer) Put(ctx context.Context, records ...Record) error {
	if _, _, err := w.cache.putArguments(records); err != nil || len(records) == 0 {
		return err
	}
	alone := slices.ContainsFunc(records, func(r Record) bool { return r.If != Condition{} })
	bytes := 0
	for _, record := range records {
		bytes += record.bytes()
	}
	return w.enqueue(ctx, write{
		records: slices.Clone(records), bytes: bytes, shard: w.cache.shardOf(records[0].Key), alone: alone,
	})
}

// Delete queues records to be deleted. It blocks and reports as Put does.
func (w *Writer) Delete(ctx context.Context, keys ...Key) error {
	if _, err := w.cache.scriptKeys(keys); err != nil || len(keys) == 0 {
		return err
	}
	return w.enqueue(ctx, write{keys: slices.Clone(keys), shard: w.cache.shardOf(keys[0])})
}

// Flush waits until all that was queued before it has been written or has
// failed. It returns the context's error if that ends first.
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
		pending := make(map[*shard]write) // one call a shard
		for gathering := true; gathering; {
			if !w.merge(pending, next) {
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

// merge adds next to what is pending, if then one call a shard still does the
// same as all the calls that were made.
func (w *Writer) merge(pending map[*shard]write, next write) bool {
	if _, flushing := pending[nil]; flushing || next.flushed != nil {
		return false
	}
	if waiting, ok := pending[next.shard]; ok {
		records, keys := len(waiting.records)+len(next.records), len(waiting.keys)+len(next.keys)
		bytes, limits := waiting.bytes+next.bytes, w.cache.options
		if waiting.alone || next.alone || records > 0 && keys > 0 ||
			records+keys > limits.MaxRecords || bytes > limits.PageBytes {
			return false
		}
		next.records, next.bytes = append(waiting.records, next.records...), bytes
		next.keys = append(waiting.keys, next.keys...)
	}
	pending[next.shard] = next
	return true
}

func (w *Writer) send(pending map[*shard]write) {
	if flush, ok := pending[nil]; ok {
		select {
		case flush.flushed <- w.failure:
			w.failure = nil
		case <-flush.gone:
		}
		return
	}
	items, errs := slices.Collect(maps.Values(pending)), make([]error, len(pending))
	background := context.Background() // the callers' contexts end with their calls
	_ = inParallel(background, len(items), func(ctx context.Context, i int) error {
		if len(items[i].keys) > 0 {
			_, errs[i] = w.cache.Delete(ctx, items[i].keys...)
		} else {
			errs[i] = w.cache.Put(ctx, items[i].records...)
		}
		return nil // the shards fail each for itself
	})
	for i, item := range items {
		if errs[i] != nil && w.options.OnError != nil {
			w.options.OnError(errs[i], item.records, item.keys)
		} else {
			w.failure = cmp.Or(w.failure, errs[i])
		}
	}
}
