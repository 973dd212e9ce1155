package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// line is a record as one line of JSON, which export writes and import reads.
type line struct {
	Key       lineKey `json:"key"`
	Value     *string `json:"value,omitempty"`        // a value that is UTF-8, unless base64 is shorter
	Base64    *[]byte `json:"value_base64,omitempty"` // any value
	Bytes     *int64  `json:"bytes,omitempty"`        // where a listing leaves the value out
	ExpiresAt *int64  `json:"expires_at,omitempty"`   // Unix ms
	TTL       *int64  `json:"ttl,omitempty"`          // ms from now; 0: never expires
}

// lineKey is written encoded; it is read encoded or as a list of segments.
type lineKey wildkey.Key

func (k lineKey) MarshalText() ([]byte, error) { return []byte(wildkey.Key(k).String()), nil }

func (k *lineKey) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]string)(k))
	}
	var encoded string
	if err := json.Unmarshal(text, &encoded); err != nil {
		return err
	}
	key, err := wildkey.ParseKey(encoded)
	*k = lineKey(key)
	return err
}

// newLine is the line of a record, with its value if that was asked for.
func newLine(record state, withValue bool) (line, error) {
	key, err := wildkey.ParseKey(record.encoded)
	l := line{Key: lineKey(key), ExpiresAt: &record.expires}
	if record.expires == 0 {
		l.ExpiresAt, l.TTL = nil, new(int64)
	}
	switch {
	case !withValue:
		l.Bytes = &record.bytes
	case utf8.Valid(record.value) && textLength(record.value) <= base64Length(len(record.value)):
		text := string(record.value)
		l.Value = &text
	default:
		l.Base64 = &record.value
	}
	return l, err
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

// incoming is a record that a line holds. What expires at a moment has no TTL
// yet: that is the time left when it is put.
type incoming struct {
	wildkey.Record
	expiresAt *int64 // Unix ms, by the server's clock
}

// ready gives the record its TTL, and reports whether it is still to live now.
func (in *incoming) ready(now time.Time) bool {
	if in.expiresAt != nil {
		in.TTL = time.UnixMilli(*in.expiresAt).Sub(now)
	}
	return in.expiresAt == nil || in.TTL >= time.Millisecond
}

// parseLine reads a line. Of what names no TTL, the record has fallback.
func parseLine(text []byte, fallback time.Duration) (incoming, error) {
	var l line
	// The decoder would put U+FFFD in the place of what is no UTF-8.
	if !utf8.Valid(text) {
		return incoming{}, errors.New("it is not UTF-8; give such a value as value_base64")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l); err != nil {
		return incoming{}, err
	}
	// Of what follows, Decoder.More would not see a } or ].
	if err := decoder.Decode(new(json.RawMessage)); err != io.EOF {
		return incoming{}, errors.New("something follows its JSON object")
	}
	record := incoming{wildkey.Record{Key: wildkey.Key(l.Key), TTL: fallback}, l.ExpiresAt}
	switch {
	case (l.Value == nil) == (l.Base64 == nil):
		return record, errors.New("it needs one of value and value_base64")
	case l.Value != nil:
		record.Value = []byte(*l.Value)
	default:
		record.Value = *l.Base64
	}
	switch {
	case l.ExpiresAt != nil && l.TTL != nil:
		return record, errors.New("it has both expires_at and ttl")
	case l.ExpiresAt != nil:
		record.TTL = 0
	case l.TTL != nil && *l.TTL == 0:
		record.TTL = wildkey.NoExpiry
	case l.TTL != nil:
		if record.TTL = time.Duration(*l.TTL) * time.Millisecond; record.TTL <= 0 || record.TTL.Milliseconds() != *l.TTL {
			return record, fmt.Errorf("its ttl, %d ms, is out of range", *l.TTL)
		}
	case fallback == 0:
		return record, errors.New("it has neither expires_at nor ttl, and neither --ttl nor --no-expiry is given")
	}
	return record, nil
}
