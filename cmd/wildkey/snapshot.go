package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// state is what the server holds of one record at the moment of a snapshot.
type state struct {
	place
	now     time.Time // the server's
	live    bool
	foreign bool   // what is there is no string, and so no record, where sizes or values were asked for
	kind    string // a Redis type, where indexes were asked for
	value   []byte // where values were asked for
	bytes   int64
	expires int64 // Unix ms; 0: never
	blur    int64 // how much later it may expire in truth, in ms
	loose   bool  // not all of one moment: others may have written meanwhile

	inOrder, inExpiry          bool // where indexes were asked for
	noOrder, noExpiry          bool // a foreign key is in the place of the index
	orderScore, expiresByScore float64
}

// facts says what to ask of each record, beside when it expires.
type facts int

const (
	sizes facts = iota
	values
	indexes
)

// snapshot returns the states of the records, those of each shard of one
// moment: nothing else is done on its server between the commands. A server
// whose memory is full queues nothing for that, and while a slot moves its keys
// are on two servers: such states are loose.
func (s *session) snapshot(ctx context.Context, places []place, ask facts) ([]state, error) {
	var tags []string
	at := map[string][]int{} // the shard's places
	for i, place := range places {
		if at[place.tag] == nil {
			tags = append(tags, place.tag)
		}
		at[place.tag] = append(at[place.tag], i)
	}
	states := make([]state, len(places))
	for _, tag := range tags {
		var encoded []string
		for _, i := range at[tag] {
			encoded = append(encoded, places[i].encoded)
		}
		found, err := s.snapshotOf(ctx, tag, encoded, ask)
		if err != nil {
			return nil, err
		}
		for j, i := range at[tag] {
			states[i] = found[j]
		}
	}
	return states, nil
}

// snapshotOf is the snapshot of records of one shard.
func (s *session) snapshotOf(ctx context.Context, tag string, encoded []string, ask facts) ([]state, error) {
	type question struct {
		expiry, kind, fact  *redis.Cmd
		orderScore, expires *redis.FloatCmd
	}
	questions := make([]question, len(encoded))
	var before, after *redis.TimeCmd
	// Redis 6.2 tells the time that is left, and not the time of the end.
	expiryCommand, exact := "PTTL", s.about.atLeast(7, 0)
	if exact {
		expiryCommand = "PEXPIRETIME"
	}
	node, err := s.nodeOf(ctx, tag)
	if err != nil {
		return nil, err
	}
	questionnaire := func(tx redis.Pipeliner) {
		for i, key := range encoded {
			name, q := place{tag, key}.name(), &questions[i]
			q.expiry = tx.Do(ctx, expiryCommand, name)
			switch ask {
			case sizes:
				q.fact = tx.Do(ctx, "STRLEN", name)
			case values:
				q.fact = tx.Do(ctx, "GET", name)
			case indexes:
				q.kind = tx.Do(ctx, "TYPE", name)
				q.orderScore = tx.ZScore(ctx, order(tag), key)
				q.expires = tx.ZScore(ctx, expiry(tag), key)
			}
		}
	}
	_, err = node.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		before = tx.Time(ctx)
		questionnaire(tx)
		after = tx.Time(ctx)
		return nil
	})
	loose := slices.ContainsFunc([]string{"EXECABORT", "ASK ", "MOVED "}, func(refusal string) bool {
		return redis.HasErrorPrefix(err, refusal)
	})
	if loose {
		// The client follows each key to where it is. The time is asked of one server, as their clocks differ.
		before = node.Time(ctx)
		_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			questionnaire(p)
			return nil
		})
		after = node.Time(ctx)
		if failed := cmp.Or(before.Err(), after.Err()); failed != nil {
			return nil, fmt.Errorf("TIME: %w", failed)
		}
	}
	// The error is the first, and there may be worse after it.
	failed := func(err error) bool {
		return err != nil && err != redis.Nil && !redis.HasErrorPrefix(err, "WRONGTYPE")
	}
	if failed(err) {
		return nil, fmt.Errorf("reading records: %w", err)
	}
	states := make([]state, len(encoded))
	for i, q := range questions {
		at, err := q.expiry.Int64()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", expiryCommand, err)
		}
		st := state{place: place{tag, encoded[i]}, now: before.Val(), live: at != -2, loose: loose}
		if at >= 0 {
			st.expires = at
		}
		if at >= 0 && !exact {
			st.expires += before.Val().UnixMilli()
			st.blur = after.Val().UnixMilli() - before.Val().UnixMilli() + 1
		}
		switch ask {
		case sizes:
			st.bytes, err = q.fact.Int64()
		case values:
			var value string
			value, err = q.fact.Text()
			st.value, st.bytes = []byte(value), int64(len(value))
		case indexes:
			st.kind, err = q.kind.Text()
			st.orderScore, st.inOrder = q.orderScore.Val(), q.orderScore.Err() == nil
			st.expiresByScore, st.inExpiry = q.expires.Val(), q.expires.Err() == nil
			st.noOrder = redis.HasErrorPrefix(q.orderScore.Err(), "WRONGTYPE")
			st.noExpiry = redis.HasErrorPrefix(q.expires.Err(), "WRONGTYPE")
			for _, score := range []*redis.FloatCmd{q.orderScore, q.expires} {
				if err == nil && failed(score.Err()) {
					err = score.Err()
				}
			}
		}
		if failed(err) {
			return nil, fmt.Errorf("reading records: %w", err)
		}
		st.foreign = redis.HasErrorPrefix(err, "WRONGTYPE")
		st.live = st.live && err == nil
		states[i] = st
	}
	return states, nil
}
