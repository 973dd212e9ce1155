package wildkey

import "errors"

var (
	// ErrNotFound is returned when Get or Take finds no live record.
	ErrNotFound = errors.New("wildkey: not found")
	// ErrCondition is returned when the condition of one record of a Put does
	// not hold. No record of that Put has been written.
	ErrCondition = errors.New("wildkey: condition does not hold")
	// ErrInvalidKey is returned for a key with no segment, an empty segment or
	// more than 4,096 bytes encoded, and for a text that is no key's spelling.
	ErrInvalidKey = errors.New("wildkey: invalid key")
	// ErrInvalidTTL is returned when no TTL is given, by the call or by
	// Options, and when one is below a millisecond and not NoExpiry.
	ErrInvalidTTL = errors.New("wildkey: invalid TTL")
	// ErrBadPattern is returned when a pattern has no term, an empty literal
	// or prefix, a text that is not canonical, or ** anywhere but last, and when
	// no key of 4,096 bytes encoded could match.
	ErrBadPattern = errors.New("wildkey: bad pattern")
	// ErrCrossShard is returned when one atomic call names records of more than
	// one shard. Nothing has been written.
	ErrCrossShard = errors.New("wildkey: the records of one atomic call lie in several shards")
	// ErrTooMany is returned when one atomic call names more records than
	// Options.MaxRecords.
	ErrTooMany = errors.New("wildkey: too many records for one atomic call")
	// ErrBadArgument is returned when a script refuses what only it checks, as
	// the cursor of another pattern. It wraps the server's error, with the place.
	ErrBadArgument = errors.New("wildkey: refused by the script")
	// ErrScriptMissing is returned when the server lacks a script, which it
	// names, and Options.Preloaded forbids to load it or loading did not help.
	ErrScriptMissing = errors.New("wildkey: script not loaded on the server")
	// ErrClosed is returned when a Writer is used after Close.
	ErrClosed = errors.New("wildkey: writer is closed")
)
