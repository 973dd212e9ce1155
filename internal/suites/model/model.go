// Package model holds sequences of all verbs against a model in Go.
package model

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/wildkey/wildkey"
)

// model is what the namespace "test" holds, in Go: what package wildkey and
// its scripts promise, with none of their ways to keep it.
type model struct {
	now             int64 // Unix ms
	shards, leading int
	records         map[string]modelRecord
	entries         map[string]bool // all that the indexes may hold: those without a live record may be gone
}

// modelRecord is a record, and what a Put says of one.
type modelRecord struct {
	key       wildkey.Key
	value     string
	expires   int64 // Unix ms, or never
	ttl       time.Duration
	condition string // as put.lua takes it, but that # comes before the value
}

// modelOp is one operation of an Apply.
type modelOp struct {
	verb   string // put, touch, delete or check
	record modelRecord
}

const never = math.MaxInt64

// errFull is what the model says where a server says OOM.
var errFull = errors.New("memory is full")

func (m *model) live(key string) bool {
	record, exists := m.records[key]
	return exists && record.expires >= m.now
}

func (m *model) liveKeys() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m.records)), func(key string) bool { return !m.live(key) })
}

func (m *model) holds(record modelRecord) bool {
	key := record.key.String()
	live := m.live(key)
	switch record.condition[0] {
	case '-':
		return !live
	case '+':
		return live
	case '=', '#':
		return live && m.records[key].value == record.condition[1:]
	}
	return true
}

// apply does all of the operations or nothing.
func (m *model) apply(ops []modelOp, full bool) (int, error) {
	met, shards, puts := map[string]bool{}, map[int]bool{}, 0
	for _, op := range ops {
		if op.verb == "check" && op.record.condition == "*" {
			return 0, wildkey.ErrBadArgument
		}
		if op.verb == "put" {
			puts++
		}
		met[op.record.key.String()], shards[op.record.key.Shard(m.shards, m.leading)] = true, true
	}
	if len(shards) > 1 {
		return 0, wildkey.ErrCrossShard
	}
	if len(met) < len(ops) {
		return 0, wildkey.ErrBadArgument
	}
	for i, op := range ops {
		keeps := op.verb == "put" && op.record.ttl == wildkey.KeepTTL
		if !m.holds(op.record) || keeps && !m.live(op.record.key.String()) {
			return 0, &wildkey.ConditionError{Index: i, Key: op.record.key}
		}
	}
	if full && puts > 0 {
		return 0, errFull
	}
	done := 0
	for _, op := range ops {
		key := op.record.key.String()
		switch op.verb {
		case "put":
			m.put(op.record)
			done++
		case "touch":
			done += m.touch(op.record.ttl, key)
		case "delete":
			done += m.delete(key)
		}
	}
	return done, nil
}

func (m *model) put(record modelRecord) {
	key := record.key.String()
	record.expires = m.after(record.ttl)
	if record.ttl == wildkey.KeepTTL {
		record.expires = m.records[key].expires
	}
	m.records[key], m.entries[key] = record, true
}

func (m *model) after(ttl time.Duration) int64 {
	if ttl == wildkey.NoExpiry {
		return never
	}
	return m.now + ttl.Milliseconds()
}

// touch gives the records that are live another TTL, and returns how many they are.
func (m *model) touch(ttl time.Duration, keys ...string) (touched int) {
	for _, key := range keys {
		if m.live(key) {
			record := m.records[key]
			record.expires = m.after(ttl)
			m.records[key] = record
			touched++
		}
	}
	return touched
}

// delete deletes records and their entries, and returns how many were live.
func (m *model) delete(keys ...string) (existed int) {
	for _, key := range keys {
		if m.live(key) {
			existed++
		}
		delete(m.records, key)
		delete(m.entries, key)
	}
	return existed
}

// vanish has a record go, and leaves its entry.
func (m *model) vanish(key string) (existed int) {
	if m.live(key) {
		existed = 1
	}
	delete(m.records, key)
	return existed
}

// match returns the keys of the live records that match, in byte order.
func (m *model) match(pattern wildkey.Pattern) []string {
	return slices.DeleteFunc(m.liveKeys(), func(key string) bool { return !pattern.Matches(m.records[key].key) })
}

// forget drops the stale entries that match.
func (m *model) forget(pattern wildkey.Pattern) {
	maps.DeleteFunc(m.entries, func(encoded string, _ bool) bool {
		key, err := wildkey.ParseKey(encoded)
		return err == nil && pattern.Matches(key) && !m.live(encoded)
	})
}

// oneByOne does each operation by itself, and returns how many records were put,
// touched or deleted, and what each is told.
func (m *model) oneByOne(ops []modelOp, full bool) (done int, outcomes []error) {
	for _, op := range ops {
		n, err := m.apply([]modelOp{op}, full)
		done, outcomes = done+n, append(outcomes, err)
	}
	return done, outcomes
}

// line writes a record, or what a call returned of it.
func line(key, value, left string) string { return fmt.Sprintf("%s=%q for %s", key, value, left) }
