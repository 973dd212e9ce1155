package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// record is a live record, as a walk meets it.
type record struct {
	wildkey.Entry
	bytes  int64     // of its value
	at     time.Time // when it had its TTL left
	beyond int64     // that TTL in ms, if it is more than wildkey.MaxTTL
}

// walk yields the records that match with their values and TTLs, in byte order of
// their keys. Value and TTL of a record are of one moment.
func (s *session) walk(ctx context.Context, pattern wildkey.Pattern) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		// A record may be yielded long after its page was read, but before the next of its shard is.
		read := map[string]time.Time{} // the last page, by its index
		var mu sync.Mutex              // the first pages of several shards come at the same time
		err := s.watch(ctx, "match", func(index string, _ int) {
			mu.Lock()
			defer mu.Unlock()
			read[index] = time.Now()
		})
		if err != nil {
			yield(record{}, err)
			return
		}
		for entry, err := range s.cache.Match(ctx, pattern, wildkey.WithTTL()) {
			mu.Lock()
			at := read[s.layout.Index(s.layout.Shard(entry.Key))]
			mu.Unlock()
			met := record{Entry: entry, bytes: int64(len(entry.Value)), at: at}
			if err == nil && entry.TTL == wildkey.MaxTTL {
				if met, err = s.lookAgain(ctx, met); errors.Is(err, redis.Nil) {
					continue // it has gone meanwhile
				}
			}
			if !yield(met, err) {
				return
			}
		}
	}
}

// lookAgain returns a record with all of its TTL, more of which is left than a Duration
// holds. Value and TTL are again of one moment.
func (s *session) lookAgain(ctx context.Context, met record) (record, error) {
	name, err := s.layout.Record(met.Key)
	if err != nil {
		return met, err
	}
	var value *redis.StringCmd
	var left *redis.Cmd
	_, err = s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		value, left = p.Get(ctx, name), p.Do(ctx, "PTTL", name)
		return nil
	})
	if err != nil {
		return met, fmt.Errorf("GET and PTTL of %s: %w", met.Key, err)
	}
	if met.Value, err = value.Bytes(); err != nil {
		return met, err
	}
	milliseconds, err := left.Int64()
	met.bytes, met.at = int64(len(met.Value)), time.Now()
	met.TTL, met.beyond = ttlOfReply(milliseconds)
	return met, err
}

// ttlOfReply returns the TTL that a PTTL of a live record says, and the reply itself if
// it is more than wildkey.MaxTTL.
func ttlOfReply(milliseconds int64) (ttl time.Duration, beyond int64) {
	switch {
	case milliseconds < 0:
		return wildkey.NoExpiry, 0
	case milliseconds > wildkey.MaxTTL.Milliseconds():
		return wildkey.MaxTTL, milliseconds
	}
	return time.Duration(milliseconds) * time.Millisecond, 0
}

// measureBatch is how many records are asked after at a time.
const measureBatch = 500

// measure yields the records among the items with their sizes and TTLs, and what lies
// beneath a key as it is.
func (s *session) measure(ctx context.Context, items iter.Seq2[item, error]) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		var batch []item
		ask := func() bool {
			var keys []wildkey.Key
			for _, item := range batch {
				if !item.beneath {
					keys = append(keys, item.Key)
				}
			}
			live, err := s.lookAt(ctx, keys)
			if err != nil {
				yield(item{}, err)
				return false
			}
			for _, each := range batch {
				if !each.beneath {
					if len(live) == 0 || live[0].Key.String() != each.Key.String() {
						continue // it has gone meanwhile
					}
					each.record, live = live[0], live[1:]
				}
				if !yield(each, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for each, err := range items {
			if err != nil {
				yield(item{}, err)
				return
			}
			if batch = append(batch, each); len(batch) == measureBatch && !ask() {
				return
			}
		}
		ask()
	}
}

// lookAt returns those of the records that are live.
func (s *session) lookAt(ctx context.Context, keys []wildkey.Key) (records []record, err error) {
	left, lengths := make([]*redis.Cmd, len(keys)), make([]*redis.IntCmd, len(keys))
	s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // its error is the first one's
		for i, key := range keys {
			name, err := s.layout.Record(key)
			if err != nil {
				return err
			}
			left[i], lengths[i] = p.Do(ctx, "PTTL", name), p.StrLen(ctx, name)
		}
		return nil
	})
	for i, key := range keys {
		length, err := lengths[i].Result()
		if redis.HasErrorPrefix(err, "WRONGTYPE") {
			continue // it is no record
		}
		milliseconds, errLeft := left[i].Int64()
		if err := cmp.Or(err, errLeft); err != nil {
			return nil, fmt.Errorf("PTTL and STRLEN: %w", err)
		}
		if milliseconds == -2 {
			continue // it has gone meanwhile
		}
		met := record{Entry: wildkey.Entry{Key: key}, bytes: length, at: time.Now()}
		met.TTL, met.beyond = ttlOfReply(milliseconds)
		records = append(records, met)
	}
	return records, nil
}
