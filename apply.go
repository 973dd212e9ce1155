package wildkey

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// NoExpiry is the TTL of a record that never expires.
const NoExpiry time.Duration = 1<<63 - 1

// MaxTTL is the longest TTL in whole milliseconds, about 292 years. Other programs can
// write records that live longer; a Cache reads these with MaxTTL.
const MaxTTL = math.MaxInt64 / time.Millisecond * time.Millisecond

// KeepTTL, as the TTL of a Record, keeps the remaining TTL of the record. If the record
// is not live, the call fails with ErrCondition.
const KeepTTL time.Duration = -1 << 63

// Record is a key and its value, as Put takes them.
type Record struct {
	Key   Key
	Value []byte
	TTL   time.Duration // at least a millisecond, NoExpiry or KeepTTL; 0: Options.TTL
	If    Condition     // zero: always holds
}

// Condition is a test of one record. An atomic call writes nothing unless all of its
// conditions hold.
type Condition struct{ argument string }

// Absent holds if there is no live record.
func Absent() Condition { return Condition{"-"} }

// Present holds if there is a live record.
func Present() Condition { return Condition{"+"} }

// Equal holds if there is a live record with exactly this value.
func Equal(value []byte) Condition { return Condition{"=" + string(value)} }

// EqualSHA1 holds if there is a live record whose value has this SHA-1, given in
// lower-case hexadecimal. It saves sending a large value to the server. Any other text is
// ErrBadArgument.
func EqualSHA1(digest string) Condition { return Condition{"#" + digest} }

// Op is an operation on one record. Make one with OpPut, OpDelete, OpTouch or OpCheck.
// The zero Op is ErrBadArgument.
type Op struct {
	verb   string // put, touch, delete or check
	record Record
	lead   string // "!" for the lease of the record
}

// OpPut puts the record, under its condition.
func OpPut(record Record) Op { return Op{verb: "put", record: record} }

// OpDelete deletes the record, if it is live.
func OpDelete(key Key) Op { return Op{verb: "delete", record: Record{Key: key}} }

// OpTouch gives the record, if it is live, a new TTL: at least a millisecond, or
// NoExpiry.
func OpTouch(key Key, ttl time.Duration) Op {
	return Op{verb: "touch", record: Record{Key: key, TTL: ttl}}
}

// OpCheck only tests a condition. Set the condition with If.
func OpCheck(key Key) Op { return Op{verb: "check", record: Record{Key: key}} }

// OnLease returns the same operation for the lease of the key instead of its record. A
// condition then tests the lease, and Apply does not count the operation. Package fetch
// uses it and explains leases.
func (o Op) OnLease() Op {
	o.lead = "!"
	return o
}

// If returns the operation with this condition in place of its own.
func (o Op) If(condition Condition) Op {
	o.record.If = condition
	return o
}

// Apply does all of the operations at once, or none of them. It does nothing if an
// argument is invalid, if a condition does not hold (a *ConditionError), or if the server
// refuses the call, for example because its memory is full (redis.IsOOMError). A call
// that only deletes and touches works on a full server too. Apply returns how many
// records it put, touched and deleted. It touches and deletes only live records.
//
// The records must lie in one shard. A repeated key is ErrBadArgument. Apply takes one
// round trip. If the index grows, the call also drops up to 1,024 stale index entries.
func (c *Cache) Apply(ctx context.Context, ops ...Op) (int, error) {
	ctx = withVerb(ctx, "Apply")
	names, args, err := c.arguments(ops)
	if err != nil || len(ops) == 0 {
		return 0, err
	}
	n, err := c.loader.run(ctx, putScript, names, args...).Int()
	if n < 0 && -n <= len(ops) {
		return 0, &ConditionError{Index: -n - 1, Key: ops[-n-1].record.Key}
	}
	return n, err
}

// Validate returns the error that Apply would return before it sends anything, or nil.
func (c *Cache) Validate(ops ...Op) error {
	_, _, err := c.arguments(ops)
	return err
}

// Put writes the records, all at once or none. It is Apply with an OpPut for each record.
func (c *Cache) Put(ctx context.Context, records ...Record) error {
	ctx = withVerb(ctx, "Put")
	_, err := c.Apply(ctx, opsOf(records, OpPut)...)
	return err
}

// Touch gives the records that are live a new TTL, all at once, and returns their number.
// It is Apply with an OpTouch for each key.
func (c *Cache) Touch(ctx context.Context, ttl time.Duration, keys ...Key) (int, error) {
	ctx = withVerb(ctx, "Touch")
	return c.Apply(ctx, opsOf(keys, func(key Key) Op { return OpTouch(key, ttl) })...)
}

func opsOf[T any](items []T, op func(T) Op) []Op {
	ops := make([]Op, len(items))
	for i, item := range items {
		ops[i] = op(item)
	}
	return ops
}

// arguments returns the KEYS and ARGV of put.lua.
func (c *Cache) arguments(ops []Op) (names []string, args []any, err error) {
	keys := make([]Key, len(ops))
	args = make([]any, 0, 3*len(ops))
	for i, op := range ops {
		action, err := c.action(op)
		if err != nil {
			return nil, nil, fmt.Errorf("%w (number %d of the call, %s)", err, i+1, op.record.Key)
		}
		keys[i] = op.record.Key
		args = append(args, action, cmp.Or(op.record.If.argument, "*"), op.record.Value)
	}
	names, err = c.keysOf(keys)
	for i, op := range ops {
		if op.lead != "" && err == nil {
			names[i+1] = strings.Replace(names[i+1], ":", ":"+op.lead, 1) // right after the hash tag
		}
	}
	return names, args, err
}

// action returns the put.lua action for an operation.
func (c *Cache) action(op Op) (string, error) {
	switch ttl := op.record.TTL; op.verb {
	case "put":
		if ttl == KeepTTL {
			return "keep", nil
		}
		return ttlArgument(cmp.Or(ttl, c.options.TTL))
	case "touch":
		argument, err := ttlArgument(ttl)
		return "touch " + argument, err
	case "delete":
		return op.verb, nil
	case "check":
		if op.record.If == (Condition{}) {
			return "", fmt.Errorf("%w: OpCheck without a condition", ErrBadArgument)
		}
		return op.verb, nil
	}
	return "", fmt.Errorf("%w: the zero Op", ErrBadArgument)
}

// ttlArgument returns a TTL in the form that put.lua takes.
func ttlArgument(ttl time.Duration) (string, error) {
	switch {
	case ttl == NoExpiry:
		return "never", nil
	case ttl == 0:
		return "", fmt.Errorf("%w: none is given; use NoExpiry for a record that never expires", ErrInvalidTTL)
	case ttl < time.Millisecond:
		return "", fmt.Errorf("%w: %v is below a millisecond", ErrInvalidTTL, ttl)
	}
	return strconv.FormatInt(ttl.Milliseconds(), 10), nil
}

// Changes reports whether the operation may change its record's value: whether it is an
// OpPut or an OpDelete.
func (o Op) Changes() bool { return o.verb == "put" || o.verb == "delete" }

// Key returns the key of the record.
func (o Op) Key() Key { return o.record.Key }

// Bytes returns how much of Options.CallBytes the operation uses: the size in bytes of its
// key before encoding, its value and its condition.
func (o Op) Bytes() int {
	n := len(o.record.Value) + len(o.record.If.argument)
	for _, segment := range o.record.Key {
		n += 1 + len(segment)
	}
	return n
}

// Conditional reports whether the operation can fail with ErrCondition: whether it has a
// condition or KeepTTL.
func (o Op) Conditional() bool { return o.record.If != Condition{} || o.record.TTL == KeepTTL }
