package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// line is a record as one line of JSON, which export writes and import reads.
type line struct {
	Key       lineKey  `json:"key"`
	Value     *string  `json:"value,omitempty"`        // a value that is UTF-8, unless base64 is shorter
	Base64    *[]byte  `json:"value_base64,omitempty"` // any value
	Bytes     *int64   `json:"bytes,omitempty"`        // where a listing leaves the value out
	ExpiresAt *int64   `json:"expires_at,omitempty"`   // Unix ms
	TTL       *lineTTL `json:"ttl,omitempty"`
}

// lineTTL is read as milliseconds from now or the word never, and written as that.
type lineTTL time.Duration

const lineNever = `"never"`

func (d lineTTL) MarshalJSON() ([]byte, error) { return []byte(lineNever), nil }

func (d *lineTTL) UnmarshalJSON(text []byte) error {
	if string(text) == lineNever {
		*d = lineTTL(wildkey.NoExpiry)
		return nil
	}
	const longest = math.MaxInt64 / int64(time.Millisecond)
	milliseconds, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || milliseconds < 1 || milliseconds > longest {
		return fmt.Errorf("its ttl, %s, is neither %s nor milliseconds from 1 to %d", text, lineNever, longest)
	}
	*d = lineTTL(time.Duration(milliseconds) * time.Millisecond)
	return nil
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
func newLine(record record, withValue bool) line {
	l := line{Key: lineKey(record.Key)}
	if ttl := lineTTL(record.TTL); record.TTL == wildkey.NoExpiry {
		l.TTL = &ttl
	} else {
		expires := record.at.Add(record.TTL).UnixMilli()
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

// incoming is a record that a line holds. What expires at a moment has no TTL
// yet: that is the time left when it is put.
type incoming struct {
	wildkey.Record
	expiresAt *int64 // Unix ms
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
		if record.TTL = time.Until(time.UnixMilli(*l.ExpiresAt)); record.TTL == math.MaxInt64 { // or even more
			return record, fmt.Errorf("its expires_at, %d, is more than 292 years ahead", *l.ExpiresAt)
		}
	case l.TTL != nil:
		record.TTL = time.Duration(*l.TTL)
	case fallback == 0:
		return record, errors.New("it has neither expires_at nor ttl, and neither --ttl nor --no-expiry is given")
	}
	return record, nil
}
