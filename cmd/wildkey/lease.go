package main

import (
	"strings"

	"github.com/wildkey/wildkey"
)

// voidsHelp is what the commands that put records say of leases.
const voidsHelp = `The same call voids the leases of package fetch for these records, so a value
that a client is loading is not stored. While a slot of a cluster moves to
another node, the call waits for the end of the move.`

// isLease reports whether an index entry, or what follows the prefix of a shard in a Redis
// key, is a lease of package fetch. Behind the ! is the key of its record.
func isLease(text string) bool { return strings.HasPrefix(text, "!") }

// keyOf returns the key of such a text, be it that of a record or that of a lease.
func keyOf(text string) (wildkey.Key, error) {
	return wildkey.ParseKey(strings.TrimPrefix(text, "!"))
}
