package fetch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/wildkey/wildkey"
)

// flight is what one process does for all its callers of a key.
type flight struct {
	done    chan struct{}
	value   []byte
	err     error
	panic   any  // what the Load panicked with, and where
	reads   int  // of the master and of the source, begun so far
	filling bool // what was loaded is being put
	stored  bool // it was put, or remembered
	loading bool
	waiting int // callers that have not given up
	cancel  context.CancelFunc
	name    string // the encoded key
}

// join has one call at a time fetch the key, and waits for it. It reports whether what
// came of it is an answer to this caller: whether the last read began after the caller
// had joined. A caller that came later may have come after an invalidation which that
// read did not see. It has its answer all the same if the value was put after that, as
// the lease still stood then.
func (f *Fetcher) join(ctx context.Context, key wildkey.Key, load Load) (value []byte, ok bool, err error) {
	name := key.String()
	f.mu.Lock()
	own, begun := f.flights[name]
	if !begun {
		key = slices.Clone(key) // the caller may change it before the flight ends
		own = f.begin(ctx, name, func(ctx context.Context, own *flight) ([]byte, error) {
			return f.fetch(ctx, own, key, load)
		})
	}
	own.waiting++
	joined, late := own.reads, own.filling
	f.mu.Unlock()
	select {
	case <-own.done:
	case <-ctx.Done():
		f.giveUp(own)
		return nil, true, ctx.Err()
	}
	if own.panic != nil {
		panic(own.panic)
	}
	ok = joined < own.reads || own.stored && !late || own.err != nil && !isNothing(own.err)
	return slices.Clone(own.value), ok, own.err // callers may change theirs
}

// giveUp counts a caller out. A flight without callers goes on only if it loads.
func (f *Fetcher) giveUp(own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own.waiting--
	if own.waiting > 0 || own.loading && !f.options.EndWithCaller {
		return
	}
	own.cancel()
	f.forget(own) // whoever comes now is not to wait for what has been ended
}

// forget has nobody join the flight any more. The lock is held.
func (f *Fetcher) forget(own *flight) {
	if f.flights[own.name] == own {
		delete(f.flights, own.name)
	}
}

func (f *Fetcher) leave(own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(own)
}

// begin starts a flight. The lock is held.
func (f *Fetcher) begin(
	ctx context.Context, name string, do func(ctx context.Context, own *flight) ([]byte, error),
) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	own := &flight{done: make(chan struct{}), cancel: cancel, name: name, err: errGone}
	f.flights[name] = own
	go func() {
		defer func() {
			if reason := recover(); reason != nil {
				f.counts.errors.Add(1)
				own.panic = fmt.Sprintf("%v\n\nThe Load panicked at:\n%s", reason, debug.Stack())
			}
			f.leave(own)
			cancel()
			close(own.done)
		}()
		own.value, own.err = do(ctx, own)
	}()
	return own
}

// errGone is what a Load leaves behind that ends its goroutine.
var errGone = errors.New("wildkey: fetch: the Load has called runtime.Goexit")

// beginRead notes that a read begins, which may be the last one of a flight.
func (f *Fetcher) beginRead(own *flight, loading bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own.reads++
	own.loading = loading
}

// call calls the Load of a flight.
func (f *Fetcher) call(ctx context.Context, own *flight, load Load) (loaded Loaded, err error) {
	if ctx.Err() != nil {
		return loaded, ctx.Err() // the callers have gone while the lease was taken
	}
	f.beginRead(own, true)
	f.counts.loads.Add(1)
	ctx, cancel := context.WithTimeout(ctx, f.options.Lease)
	defer cancel()
	// Nobody is to wait for a Load that never returns once others may load.
	defer time.AfterFunc(f.options.Lease, func() { f.leave(own) }).Stop()
	loaded, err = load(ctx)
	if err == nil && loaded.Value == nil {
		loaded.Value = []byte{}
	}
	if err != nil && !isNothing(err) {
		f.counts.errors.Add(1)
	}
	return loaded, err
}
