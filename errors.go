package wildkey

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound means that there is no live record.
	ErrNotFound = errors.New("wildkey: not found")
	// ErrCondition means that a condition of an atomic call does not hold. The call
	// wrote nothing. The error is a *ConditionError.
	ErrCondition = errors.New("wildkey: condition does not hold")
	// ErrInvalidKey means that a key has no segments, has an empty segment or is longer
	// than 4,096 bytes when encoded, or that a string does not encode a key.
	ErrInvalidKey = errors.New("wildkey: invalid key")
	// ErrInvalidTTL means that neither the call nor Options sets a TTL, or that a TTL
	// is shorter than a millisecond.
	ErrInvalidTTL = errors.New("wildkey: invalid TTL")
	// ErrBadPattern means that a pattern is malformed: NewPattern and ParsePattern list
	// the rules.
	ErrBadPattern = errors.New("wildkey: bad pattern")
	// ErrCrossShard means that the records of one atomic call lie in several shards.
	// The call wrote nothing.
	ErrCrossShard = errors.New("wildkey: the records of one atomic call lie in several shards")
	// ErrTooMany means that a call names more than Options.CallRecords records.
	ErrTooMany = errors.New("wildkey: too many records for one atomic call")
	// ErrBadArgument means that an argument is wrong, such as a repeated key or the
	// cursor of another pattern. The call wrote nothing. If a script found the mistake,
	// the error wraps the server's, which says where.
	ErrBadArgument = errors.New("wildkey: bad argument")
	// ErrScriptMissing means that the server lacks a script and that Options.Preloaded
	// forbids loading it. The error names the script.
	ErrScriptMissing = errors.New("wildkey: script not loaded on the server")
)

// ConditionError reports which condition did not hold. It wraps ErrCondition.
type ConditionError struct {
	Index int // position of the operation or record in the call, from 0
	Key   Key
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("%v: number %d of the call, %s", ErrCondition, e.Index+1, e.Key)
}

func (e *ConditionError) Unwrap() error { return ErrCondition }
