package fetch

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// Put is the Put of the Cache. In the same call it voids the leases of the records: a
// value that is being loaded for one of them is not stored. If it fails, as on a full
// server, no lease is voided. All verbs take half of the cache's Options.CallRecords.
func (f *Fetcher) Put(ctx context.Context, records ...wildkey.Record) error {
	ops := make([]wildkey.Op, len(records))
	for i, record := range records {
		ops[i] = wildkey.OpPut(record)
	}
	_, err := f.Apply(ctx, ops...)
	return err
}

// Delete is the Delete of the Cache. It also voids the leases of the keys.
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

// Apply is the Apply of the Cache. It also voids the leases of the records that it puts or
// deletes, if it does anything: an operation on the lease of one of them would name it
// twice, and is ErrBadArgument. While the slot of the records moves between nodes of a
// cluster it waits until the move is over or ctx ends: a lease that is not there is
// TRYAGAIN then.
func (f *Fetcher) Apply(ctx context.Context, ops ...wildkey.Op) (int, error) {
	all := ops[:len(ops):len(ops)]
	for _, op := range ops {
		if op.Changes() {
			all = append(all, wildkey.OpDelete(op.Key()).OnLease())
		}
	}
	return f.apply(ctx, all...)
}

// Take voids the lease, and then is the Take of the Cache: two calls. A load that begins
// between the two finds the record.
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

// apply is Apply, and waits out the move of a slot. When it ends, go-redis may have used up
// its redirections for a call.
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
