package wildkey

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned when Get, GetTouch, TTL or Take finds no live record.
	ErrNotFound = errors.New("wildkey: not found")
	// ErrCondition is returned when a condition of an atomic call does not hold.
	// The call has written nothing. The error is a *ConditionError.
	ErrCondition = errors.New("wildkey: condition does not hold")
	// ErrInvalidKey is returned for a key with no segment, with an empty segment or
	// of more than 4,096 bytes encoded, and for a text that is no key's spelling.
	ErrInvalidKey = errors.New("wildkey: invalid key")
	// ErrInvalidTTL is returned when neither the call nor Options give a TTL, and
	// when a TTL is below a millisecond.
	ErrInvalidTTL = errors.New("wildkey: invalid TTL")
	// ErrBadPattern is returned when a pattern has no term, an empty literal or
	// prefix, a text that is not canonical, or ** anywhere but last, and when no
	// key of 4,096 bytes encoded could match.
	ErrBadPattern = errors.New("wildkey: bad pattern")
	// ErrCrossShard is returned when one atomic call names records of several
	// shards. Nothing has been written.
	ErrCrossShard = errors.New("wildkey: the records of one atomic call lie in several shards")
	// ErrTooMany is returned when one atomic call names more records than
	// Options.CallRecords.
	ErrTooMany = errors.New("wildkey: too many records for one atomic call")
	// ErrBadArgument is returned when a script refuses an argument that only it
	// checks, such as the cursor of another pattern or a key that comes twice.
	// Nothing has been written. It wraps the server's error, which names the place.
	ErrBadArgument = errors.New("wildkey: refused by the script")
	// ErrScriptMissing is returned when the server lacks a script, which the error
	// names, and Options.Preloaded forbids to load it.
	ErrScriptMissing = errors.New("wildkey: script not loaded on the server")
)

// ConditionError says which condition did not hold. errors.Is finds ErrCondition
// in it.
type ConditionError struct {
	Index int // of the operation or record in the call, from 0
	Key   Key
}

func (e *ConditionError) Error() string {
	return fmt.Sprintf("%v: number %d of the call, %s", ErrCondition, e.Index+1, e.Key)
}

// Unwrap returns ErrCondition.
func (e *ConditionError) Unwrap() error { return ErrCondition }
