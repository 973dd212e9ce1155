package main

import (
	"context"
	"iter"
	"time"

	"github.com/wildkey/wildkey"
)

// How many records a snapshot is taken of, and how many bytes of values it may hold.
const (
	snapshotRecords = 500
	snapshotBytes   = 1 << 20
)

// found is a record that a pattern has matched, at the server's time of now.
type found struct {
	state
	now time.Time
}

// walk yields the live records that match, in byte order of their keys.
func (s *session) walk(ctx context.Context, pattern wildkey.Pattern, ask facts) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		for batch, err := range batches(s.cache.MatchKeys(ctx, pattern), snapshotRecords) {
			if err != nil {
				yield(found{}, err)
				return
			}
			for part, err := range s.parts(ctx, batch, ask) {
				var states []state
				var now time.Time
				if err == nil {
					states, now, err = s.snapshot(ctx, part, ask)
				}
				if err != nil {
					yield(found{}, err)
					return
				}
				for _, st := range states {
					if st.live && !yield(found{st, now}, nil) {
						return
					}
				}
			}
		}
	}
}

// parts splits keys so that the values of each part fit a snapshot.
func (s *session) parts(ctx context.Context, encoded []string, ask facts) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		if ask != values {
			yield(encoded, nil)
			return
		}
		measured, _, err := s.snapshot(ctx, encoded, sizes)
		if err != nil {
			yield(nil, err)
			return
		}
		first, bytes := 0, int64(0)
		for i, st := range measured {
			if bytes += st.bytes; bytes > snapshotBytes && i > first {
				if !yield(encoded[first:i], nil) {
					return
				}
				first, bytes = i, st.bytes
			}
		}
		yield(encoded[first:], nil)
	}
}

// batches yields the encoded keys, so many at a time. A batch is good until the next.
func batches(keys iter.Seq2[wildkey.Key, error], most int) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		var batch []string
		for key, err := range keys {
			if err != nil {
				yield(nil, err)
				return
			}
			if batch = append(batch, key.String()); len(batch) == most {
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
