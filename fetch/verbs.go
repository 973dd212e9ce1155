package fetch

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// Put is like the Cache's Put and, in the same call, voids the leases of the records: a
// value that is being loaded for one of them is not stored. If Put fails, as on a full
// server, it voids no lease. A verb takes at most half of the cache's Options.CallRecords.
func (f *Fetcher) Put(ctx context.Context, records ...wildkey.Record) error {
	ops := make([]wildkey.Op, len(records))
	for i, record := range records {
		ops[i] = wildkey.OpPut(record)
	}
	_, err := f.Apply(ctx, ops...)
	return err
}

// Delete is like the Cache's Delete and also voids the leases of the keys.
func (f *Fetcher) Delete(ctx context.Context, keys ...wildkey.Key) (int, error) {
	var ops []wildkey.Op
	met := map[string]bool{}
	for _, key := range keys {
		if name := key.String(); !met[name] {
			met[name] = true
			ops = append(ops, wildkey.OpDelete(key))
		}
	}
	return f.Apply(ctx, ops...)
}

// Apply is like the Cache's Apply. If it succeeds, it also voids the leases of the records
// that it puts or deletes. An operation on such a lease is therefore ErrBadArgument. While
// the slot of the records moves between cluster nodes, Apply waits until the move is over
// or ctx ends, because a missing lease then causes TRYAGAIN.
func (f *Fetcher) Apply(ctx context.Context, ops ...wildkey.Op) (int, error) {
	all := ops[:len(ops):len(ops)]
	for _, op := range ops {
		if op.Changes() {
			all = append(all, wildkey.OpDelete(op.Key()).OnLease())
		}
	}
	return f.apply(ctx, all...)
}

// Take voids the lease and then calls the Cache's Take. It takes two round trips. A load
// that begins between the two finds the record.
func (f *Fetcher) Take(ctx context.Context, key wildkey.Key) ([]byte, error) {
	if _, err := f.apply(ctx, wildkey.OpDelete(key).OnLease()); err != nil {
		return nil, err
	}
	return f.cache.Take(ctx, key)
}

// DeleteMatch first deletes the leases of all keys that match, with or without a record,
// and then the records. A value that was read before the call is not stored after it.
func (f *Fetcher) DeleteMatch(ctx context.Context, pattern wildkey.Pattern) (int, error) {
	if _, err := f.cache.DeleteMatch(ctx, pattern.Leases()); err != nil {
		return 0, err
	}
	return f.cache.DeleteMatch(ctx, pattern)
}

// apply calls the Cache's Apply and waits while a slot moves. When the move ends, go-redis
// may have used up its redirections for a call.
func (f *Fetcher) apply(ctx context.Context, ops ...wildkey.Op) (int, error) {
	moves := false
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		n, err := f.cache.Apply(ctx, ops...)
		moves = moves || redis.IsTryAgainError(err)
		if !moves || !redis.IsTryAgainError(err) && !redis.HasErrorPrefix(err, "MOVED") && !redis.HasErrorPrefix(err, "ASK") {
			return n, err
		}
		if f.pause(ctx, wait) != nil {
			return n, err
		}
	}
}
