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
	encoding string // of a string, as OBJECT ENCODING names it
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
	e := &entry{kind: stringKind, str: value, encoding: encodingOf(value)}
	if _, isInt := parseInt(value); isInt {
		e.encoding = "int"
	}
	k.keys.set(key, e)
	return e
}

// encodingOf is how Redis keeps a string that is no integer. It keeps one that
// has been changed in place as "raw", whatever its length.
func encodingOf(value string) string {
	const embeddedBytes = 44
	if len(value) <= embeddedBytes {
		return "embstr"
	}
	return "raw"
}

func (e *entry) setRaw(value string) { e.str, e.encoding = value, "raw" }

func (k *keyspace) delete(key string) bool {
	if k.find(key) == nil {
		return false
	}
	k.keys.delete(key)
	return true
}

func (k *keyspace) flush() {
	changes := k.keys.changes
	k.keys = newDict[*entry]()
	k.keys.changes = changes
}

func (k *keyspace) clone() *keyspace {
	return &keyspace{now: k.now, keepExpired: k.keepExpired, keys: k.keys.clone((*entry).clone)}
}

func (e *entry) clone() *entry {
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
}

func (k *keyspace) dump() string {
	names := k.keys.names()
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		if e, _ := k.keys.get(name); !k.expired(e) {
			fmt.Fprintf(&b, "%q %s\n", name, e.dump())
		}
	}
	return b.String()
}

// dump is what a key holds as text, the same for equal values that expire at the
// same time.
func (e *entry) dump() string {
	var b strings.Builder
	b.WriteString(string(e.kind))
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
			fmt.Fprintf(&b, " %q %q", f, e.hash.valueReply(f))
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
	return b.String()
}

// hash is a hash with its fields in the order in which they were set, which is
// how Redis keeps and returns a small one.
type hash struct {
	fields []string
	values *dict[string]
	// large is set for good once the hash has outgrown the compact encoding,
	// which HSCAN returns whole.
	large bool
}

// compactFields is Redis's default for hash-max-listpack-entries.
const compactFields = 512

func newHash() *hash { return &hash{values: newDict[string]()} }

// set sets a field and reports whether it is new.
func (h *hash) set(field, value string) bool {
	_, exists := h.values.get(field)
	if !exists {
		h.fields = append(h.fields, field)
	}
	h.values.set(field, value)
	if len(h.fields) > compactFields || len(field) > compactBytes || len(value) > compactBytes {
		h.large = true
	}
	return !exists
}

func (h *hash) delete(field string) bool {
	if _, exists := h.values.get(field); !exists {
		return false
	}
	h.values.delete(field)
	i := slices.Index(h.fields, field)
	h.fields = slices.Delete(h.fields, i, i+1)
	return true
}

// valueReply is what a field holds, or null.
func (h *hash) valueReply(field string) any {
	if value, ok := h.values.get(field); ok {
		return value
	}
	return nil
}

func (h *hash) clone() *hash {
	return &hash{
		fields: slices.Clone(h.fields),
		values: h.values.clone(func(v string) string { return v }),
		large:  h.large,
	}
}
