package luatest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// keyspace is the data of database 0 and the clock by which it expires.
type keyspace struct {
	now  time.Time
	keys *dict[*entry]
	// keepExpired leaves it to a master to delete what has expired.
	keepExpired bool
}

// entry is what a key holds: a value of one kind.
type entry struct {
	kind     kind
	str      string
	zset     *zset
	hash     *hash
	list     *list
	set      *set
	stream   *stream
	expires  bool
	expireAt int64 // Unix milliseconds, when expires
}

// kind is the type of a value, as TYPE spells it.
type kind string

const (
	stringKind kind = "string"
	zsetKind   kind = "zset"
	hashKind   kind = "hash"
	listKind   kind = "list"
	setKind    kind = "set"
	streamKind kind = "stream"
)

func newKeyspace(now time.Time) *keyspace {
	return &keyspace{now: now, keys: newDict[*entry]()}
}

// nowMillis is the clock in the unit in which keys expire.
func (k *keyspace) nowMillis() int64 { return k.now.UnixMilli() }

// find returns the live entry at key, or nil. An expired one is removed, unless
// that is for a master to do.
func (k *keyspace) find(key string) *entry {
	e, ok := k.keys.get(key)
	if !ok {
		return nil
	}
	if k.expired(e) {
		if !k.keepExpired {
			k.keys.delete(key)
		}
		return nil
	}
	return e
}

// expired reports whether e is gone. A key lives through the millisecond at
// which it expires.
func (k *keyspace) expired(e *entry) bool { return e.expires && k.nowMillis() > e.expireAt }

// findKind is find for a command on one type of value. The error is for a key
// that holds another.
func (k *keyspace) findKind(key string, want kind) (*entry, Error) {
	e := k.find(key)
	if e != nil && e.kind != want {
		return nil, errWrongType
	}
	return e, ""
}

// setString makes key a string that does not expire, whatever it was.
func (k *keyspace) setString(key, value string) *entry {
	e := &entry{kind: stringKind, str: value}
	k.keys.set(key, e)
	return e
}

func (k *keyspace) delete(key string) bool {
	if k.find(key) == nil {
		return false
	}
	k.keys.delete(key)
	return true
}

func (k *keyspace) flush() { k.keys = newDict[*entry]() }

func (k *keyspace) clone() *keyspace {
	return &keyspace{now: k.now, keepExpired: k.keepExpired, keys: k.keys.clone(func(e *entry) *entry {
		c := *e
		if e.zset != nil {
			c.zset = e.zset.clone()
		}
		if e.hash != nil {
			c.hash = e.hash.clone()
		}
		if e.list != nil {
			c.list = e.list.clone()
		}
		if e.set != nil {
			c.set = e.set.clone()
		}
		if e.stream != nil {
			c.stream = e.stream.clone()
		}
		return &c
	})}
}

func (k *keyspace) dump() string {
	names := k.keys.names()
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		e, _ := k.keys.get(name)
		if k.expired(e) {
			continue
		}
		fmt.Fprintf(&b, "%q %s", name, e.kind)
		switch e.kind {
		case stringKind:
			fmt.Fprintf(&b, " %q", e.str)
		case zsetKind:
			for _, m := range e.zset.members {
				fmt.Fprintf(&b, " %s %q", formatFloat(m.score, 17), m.name)
			}
		case hashKind:
			fields := slices.Clone(e.hash.fields)
			slices.Sort(fields)
			for _, f := range fields {
				fmt.Fprintf(&b, " %q %q", f, e.hash.values[f])
			}
		case listKind:
			for _, element := range e.list.elements() {
				fmt.Fprintf(&b, " %q", element)
			}
		case setKind:
			for _, member := range slices.Sorted(slices.Values(e.set.members)) {
				fmt.Fprintf(&b, " %q", member)
			}
		case streamKind:
			fmt.Fprintf(&b, " last %s", e.stream.last)
			for _, added := range e.stream.between(streamID{}, maxStreamID, false, 0) {
				fmt.Fprintf(&b, " %s", added.id)
				for _, text := range added.pairs {
					fmt.Fprintf(&b, " %q", text)
				}
			}
		}
		if e.expires {
			fmt.Fprintf(&b, " expires %d", e.expireAt)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// hash is a hash with its fields in the order in which they were set, which is
// how Redis keeps and returns a small one.
type hash struct {
	fields []string
	values map[string]string
}

func newHash() *hash { return &hash{values: map[string]string{}} }

// set sets a field and reports whether it is new.
func (h *hash) set(field, value string) bool {
	_, exists := h.values[field]
	if !exists {
		h.fields = append(h.fields, field)
	}
	h.values[field] = value
	return !exists
}

func (h *hash) delete(field string) bool {
	if _, exists := h.values[field]; !exists {
		return false
	}
	delete(h.values, field)
	i := slices.Index(h.fields, field)
	h.fields = slices.Delete(h.fields, i, i+1)
	return true
}

func (h *hash) clone() *hash {
	c := &hash{fields: slices.Clone(h.fields), values: make(map[string]string, len(h.values))}
	for f, v := range h.values {
		c.values[f] = v
	}
	return c
}
