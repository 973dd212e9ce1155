package main

import (
	"cmp"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// line is a record as export and listings write it: one line of JSON.
type line struct {
	Key       lineKey `json:"key"`
	Value     *string `json:"value,omitempty"`        // a value that is UTF-8, unless base64 is shorter
	Base64    *[]byte `json:"value_base64,omitempty"` // any value
	Bytes     *int64  `json:"bytes,omitempty"`        // where a listing leaves the value out
	ExpiresAt *int64  `json:"expires_at,omitempty"`   // Unix ms
	TTL       *string `json:"ttl,omitempty"`          // never
}

// lineKey is written encoded.
type lineKey wildkey.Key

func (k lineKey) MarshalText() ([]byte, error) { return []byte(wildkey.Key(k).String()), nil }

const lineNever = "never"

// newLine is the line of a record, with its value if that was asked for.
func newLine(record record, withValue bool) line {
	l := line{Key: lineKey(record.Key)}
	if never := lineNever; record.TTL == wildkey.NoExpiry {
		l.TTL = &never
	} else {
		// A server whose clock is behind may have more to tell than fits.
		at, left := record.at.UnixMilli(), cmp.Or(record.beyond, record.TTL.Milliseconds())
		expires := at + min(left, math.MaxInt64-at)
		l.ExpiresAt = &expires
	}
	switch {
	case !withValue:
		l.Bytes = &record.bytes
	case utf8.Valid(record.Value) && textLength(record.Value) <= base64Length(len(record.Value)):
		text := string(record.Value)
		l.Value = &text
	default:
		l.Base64 = &record.Value
	}
	return l
}

// base64Length is how many bytes base64 makes of n, with those by which the name
// of its field is longer.
func base64Length(n int) int { return len("_base64") + base64.StdEncoding.EncodedLen(n) }

// textLength is how many bytes marshal makes of a value that is UTF-8.
func textLength(value []byte) int {
	length := 0
	for _, r := range string(value) {
		switch {
		case strings.ContainsRune("\"\\\b\f\n\r\t", r):
			length += len(`\n`)
		case strconv.IsPrint(r):
			length += utf8.RuneLen(r)
		default:
			length += len(`\u0000`) * utf16.RuneLen(r)
		}
	}
	return length
}
