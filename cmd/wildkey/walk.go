package main

import (
	"context"
	"iter"

	"github.com/wildkey/wildkey"
)

// How many records a snapshot is taken of, and how many bytes of values it may hold.
const (
	snapshotRecords = 500
	snapshotBytes   = 1 << 20
)

// walk yields the live records that match, in byte order of their keys.
func (s *session) walk(ctx context.Context, pattern wildkey.Pattern, ask facts) iter.Seq2[state, error] {
	return func(yield func(state, error) bool) {
		for batch, err := range s.batches(s.cache.MatchKeys(ctx, pattern), snapshotRecords) {
			if err != nil {
				yield(state{}, err)
				return
			}
			for part, err := range s.parts(ctx, batch, ask) {
				var states []state
				if err == nil {
					states, err = s.snapshot(ctx, part, ask)
				}
				if err != nil {
					yield(state{}, err)
					return
				}
				for _, st := range states {
					if st.live && !yield(st, nil) {
						return
					}
				}
			}
		}
	}
}

// parts splits records so that the values of each part fit a snapshot.
func (s *session) parts(ctx context.Context, places []place, ask facts) iter.Seq2[[]place, error] {
	return func(yield func([]place, error) bool) {
		if ask != values {
			yield(places, nil)
			return
		}
		measured, err := s.snapshot(ctx, places, sizes)
		if err != nil {
			yield(nil, err)
			return
		}
		first, bytes := 0, int64(0)
		for i, st := range measured {
			if bytes += st.bytes; bytes > snapshotBytes && i > first {
				if !yield(places[first:i], nil) {
					return
				}
				first, bytes = i, st.bytes
			}
		}
		yield(places[first:], nil)
	}
}

// batches yields where the records of these keys are, so many at a time. A batch
// is good until the next.
func (s *session) batches(keys iter.Seq2[wildkey.Key, error], most int) iter.Seq2[[]place, error] {
	return func(yield func([]place, error) bool) {
		var batch []place
		for key, err := range keys {
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, place{s.shards.of(key), key.String()}); len(batch) == most {
				if !yield(batch, nil) {
					return
				}
				batch = batch[:0]
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}
