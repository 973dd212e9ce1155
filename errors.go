package wildkey

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that there is no live record.
	ErrNotFound = errors.New("wildkey: not found")
	// ErrCondition says that a condition of an atomic call does not hold, and that
	// the call has written nothing. The error is a *ConditionError.
	ErrCondition = errors.New("wildkey: condition does not hold")
	// ErrInvalidKey says that a key has no segment, has an empty segment or is longer
	// than 4,096 bytes encoded, or that a text is not the spelling of a key.
	ErrInvalidKey = errors.New("wildkey: invalid key")
	// ErrInvalidTTL says that neither the call nor Options give a TTL, or that a TTL
	// is below a millisecond.
	ErrInvalidTTL = errors.New("wildkey: invalid TTL")
	// ErrBadPattern says that a pattern has no term, has an empty literal or prefix,
	// has ** before its end, is not spelled canonically, or is too long for any key.
	ErrBadPattern = errors.New("wildkey: bad pattern")
	// ErrCrossShard says that the records of one atomic call lie in several shards,
	// and that nothing has been written.
	ErrCrossShard = errors.New("wildkey: the records of one atomic call lie in several shards")
	// ErrTooMany says that an atomic call names more than Options.CallRecords records.
	ErrTooMany = errors.New("wildkey: too many records for one atomic call")
	// ErrBadArgument says that an argument is wrong, such as a key that comes twice or
	// the cursor of another pattern, and that nothing has been written. Where a script
	// has found it, it wraps the server's error, which names the place.
	ErrBadArgument = errors.New("wildkey: bad argument")
	// ErrScriptMissing says that the server lacks a script, which the error names,
	// and that Options.Preloaded forbids to load it.
	ErrScriptMissing = errors.New("wildkey: script not loaded on the server")
)

// ConditionError says which condition did not hold. It wraps ErrCondition.
type ConditionError struct {
	Index int // of the operation or record in the call, from 0
	Key   Key
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("%v: number %d of the call, %s", ErrCondition, e.Index+1, e.Key)
}

func (e *ConditionError) Unwrap() error { return ErrCondition }
