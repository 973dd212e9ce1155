package fetch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/wildkey/wildkey"
)

// lease is the right to load a record, as long as the lease of its key has this token.
type lease struct {
	key   wildkey.Key
	token string
	ttl   time.Duration
}

func (f *Fetcher) newLease(key wildkey.Key) lease { return lease{key, rand.Text(), f.options.Lease} }

// take takes the lease, if nobody has it.
func (l lease) take() wildkey.Op { return l.put(l.token, l.ttl).If(wildkey.Absent()) }

// giveBack deletes the lease, if it is still this one.
func (l lease) giveBack() wildkey.Op {
	return wildkey.OpDelete(l.key).OnLease().If(wildkey.Equal([]byte(l.token)))
}

// remember has the lease say that there is nothing to load, if it is still this one.
func (l lease) remember(ttl time.Duration) wildkey.Op {
	return l.put(none, ttl).If(wildkey.Equal([]byte(l.token)))
}

func (l lease) put(text string, ttl time.Duration) wildkey.Op {
	return wildkey.OpPut(wildkey.Record{Key: l.key, Value: []byte(text), TTL: ttl}).OnLease()
}

// load calls the Load and stores what it returns, if the lease still stands and the
// record is as the condition has it. A value that can't be stored is returned all the same.
func (f *Fetcher) load(
	ctx context.Context, own *flight, l lease, load Load, still wildkey.Condition,
) (value []byte, err error) {
	returned := false
	defer func() {
		if !returned { // the Load has panicked
			f.settle(ctx, own, l, l.giveBack())
		}
	}()
	loaded, err := f.call(ctx, own, load)
	returned = true
	put := wildkey.OpPut(wildkey.Record{Key: l.key, Value: loaded.Value, TTL: loaded.TTL, If: still})
	if err == nil {
		err = f.cache.Validate(put)
	}
	if err == nil && loaded.TTL == wildkey.KeepTTL {
		err = fmt.Errorf("%w: fetch: a loaded record has no time that it could keep", wildkey.ErrInvalidTTL)
	}
	switch {
	case err == nil:
		if own.stored = f.settle(ctx, own, l, l.giveBack(), put); own.stored {
			f.counts.stored.Add(1)
		}
	case !isNothing(err):
		f.settle(ctx, own, l, l.giveBack())
	default:
		ops := []wildkey.Op{l.giveBack()}
		if f.options.Negative > 0 {
			ops[0] = l.remember(f.options.Negative)
		}
		if still != wildkey.Absent() { // the record that was to be renewed is of what is gone
			ops = append(ops, wildkey.OpDelete(l.key).If(still))
		}
		own.stored = f.settle(ctx, own, l, ops...)
	}
	if err != nil {
		return nil, err
	}
	return loaded.Value, nil
}

// settle does what ends a load, and reports whether it was done. If it was not, the
// lease is given back, or nobody would load before it ends by itself. It is done even
// if the callers have given up by now.
func (f *Fetcher) settle(ctx context.Context, own *flight, l lease, ops ...wildkey.Op) bool {
	f.mu.Lock()
	own.filling = true
	f.mu.Unlock()
	_, err := f.cache.Apply(context.WithoutCancel(ctx), ops...)
	if err == nil {
		return true
	}
	if errors.Is(err, wildkey.ErrCondition) {
		f.counts.refused.Add(1)
	} else {
		f.counts.failed.Add(1)
	}
	f.drop(ctx, l)
	return false
}

// drop gives back a lease that may be one's own. It ends by itself otherwise.
func (f *Fetcher) drop(ctx context.Context, l lease) {
	_, _ = f.cache.Apply(context.WithoutCancel(ctx), l.giveBack())
}
