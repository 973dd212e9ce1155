package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// incoming is a record that a line holds.
type incoming struct {
	key       wildkey.Key
	value     []byte
	ttl       int64 // ms, or 0 with expiresAt
	expiresAt int64 // Unix ms, or 0
}

const (
	ttlNever   = -1
	longestTTL = 999_999_999_999_999 // that put.lua takes
)

// left returns how many ms the record is to live from now, or ttlNever; below 1, it has
// expired.
func (in incoming) left(now time.Time) int64 {
	if in.expiresAt == 0 {
		return in.ttl
	}
	return max(0, in.expiresAt-now.UnixMilli())
}

// parseLine reads a line. If it names no TTL, the record has fallback, unless that is 0.
// The decoder of encoding/json would take other text for what no UTF-8 stands for,
// either of two fields, and a field by another name.
func parseLine(text []byte, fallback time.Duration) (in incoming, err error) {
	fields, err := readFields(text)
	if err != nil {
		return in, err
	}
	for _, name := range lineFields {
		raw := fields[name]
		if raw == nil {
			continue
		}
		switch name {
		case "key":
			in.key, err = readKey(raw)
		case "value":
			in.value, err = readValue(raw)
		case "value_base64":
			in.value, err = readBase64(raw)
		case "expires_at":
			in.expiresAt, err = readExpiry(raw)
		case "ttl":
			in.ttl, err = readTTL(raw)
		}
		if err != nil {
			return in, err
		}
	}
	has := func(name string) bool { return fields[name] != nil }
	switch {
	case !has("key"):
		return in, errors.New("it has no key")
	case has("value") == has("value_base64"):
		return in, errors.New("it needs one of value and value_base64")
	case has("expires_at") && has("ttl"):
		return in, errors.New("it has both expires_at and ttl")
	case has("expires_at") || has("ttl"):
		return in, nil
	case fallback == 0:
		return in, errors.New("it has neither expires_at nor ttl, and neither --ttl nor --no-expiry is given")
	case fallback == wildkey.NoExpiry:
		in.ttl = ttlNever
	default:
		in.ttl = fallback.Milliseconds()
	}
	return in, nil
}

var lineFields = []string{"key", "value", "value_base64", "expires_at", "ttl"}

// readFields returns the fields of a line, none of them twice, with the JSON of each.
func readFields(text []byte) (map[string]json.RawMessage, error) {
	if i := invalidUTF8(text); i >= 0 {
		return nil, fmt.Errorf("byte %d is not UTF-8; give a value as value_base64, and a key encoded", i+1)
	}
	if !json.Valid(text) {
		return nil, notJSON(text)
	}
	if i := loneSurrogate(text); i >= 0 {
		return nil, fmt.Errorf(`byte %d begins %s, half of a surrogate pair, which is not text; give a value as value_base64, and a key encoded`,
			i+1, text[i:i+len(`\ud800`)])
	}
	if text = bytes.TrimSpace(text); text[0] != '{' {
		return nil, fmt.Errorf("it is not a JSON object but %s", excerpt(text))
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.Token() // the {
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		field := name.(string)
		switch {
		case !slices.Contains(lineFields, field):
			return nil, fmt.Errorf("it has a field %q, which import does not know", field)
		case fields[field] != nil:
			return nil, fmt.Errorf("it has the field %q twice", field)
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, err
		}
		fields[field] = raw
	}
	return fields, nil
}

// notJSON tells in which byte of a line its JSON is wrong.
func notJSON(text []byte) error {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, new(json.RawMessage)); !errors.As(err, &syntax) {
		return err
	}
	return fmt.Errorf("its JSON is wrong at byte %d: %w", syntax.Offset, syntax)
}

// invalidUTF8 returns where text is not UTF-8, or -1.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
}

// loneSurrogate returns where valid JSON has an escape of half of a surrogate pair
// without the other half, or -1.
func loneSurrogate(text []byte) int {
	for i := 0; ; {
		next := bytes.IndexByte(text[i:], '\\')
		if next < 0 {
			return -1
		}
		i += next
		unit := utf16Escape(text[i:])
		switch {
		case !utf16.IsSurrogate(unit):
			i += len(`\n`)
		case utf16.DecodeRune(unit, utf16Escape(text[i+len(`\ud800`):])) == utf8.RuneError:
			return i
		default:
			i += len(`\ud83d\ude00`)
		}
	}
}

// utf16Escape returns the unit of UTF-16 whose escape text begins with, or -1.
func utf16Escape(text []byte) rune {
	if !bytes.HasPrefix(text, []byte(`\u`)) {
		return -1
	}
	unit, _ := strconv.ParseUint(string(text[len(`\u`):len(`\ud800`)]), 16, 16) // valid JSON has four digits
	return rune(unit)
}

// readKey reads a key: encoded, or a list of segments.
func readKey(raw json.RawMessage) (wildkey.Key, error) {
	switch raw[0] {
	case '"':
		encoded, err := readText(raw)
		if err != nil {
			return nil, err
		}
		return wildkey.ParseKey(encoded)
	case '[':
		var segments []json.RawMessage
		if err := json.Unmarshal(raw, &segments); err != nil {
			return nil, err
		}
		key := make(wildkey.Key, len(segments))
		for i, segment := range segments {
			var err error
			if key[i], err = readSegment(segment); err != nil {
				return nil, fmt.Errorf("segment %d of its key, %s, %w", i+1, excerpt(segment), err)
			}
		}
		if len(key) == 0 {
			return nil, fmt.Errorf("%w: it has no segment", wildkey.ErrInvalidKey)
		}
		_, err := wildkey.ParseKey(key.String()) // before others are put with it
		return key, err
	}
	return nil, fmt.Errorf("its key, %s, is neither an encoded key nor a list of segments", excerpt(raw))
}

var integer = regexp.MustCompile(`^(?:0|-?[1-9][0-9]*)$`)

// readSegment reads a segment, which is text, or an integer that has one spelling.
func readSegment(raw json.RawMessage) (string, error) {
	switch {
	case raw[0] == '"':
		return readText(raw)
	case integer.Match(raw):
		return string(raw), nil
	}
	return "", errors.New("is neither text nor an integer")
}

// excerpt is the beginning of what a line has in a place where it must not.
func excerpt(raw json.RawMessage) string {
	if runes := []rune(string(raw[:min(len(raw), 160)])); len(raw) > 160 || len(runes) > 40 {
		return string(runes[:min(len(runes), 39)]) + "…"
	}
	return string(raw)
}

func readText(raw json.RawMessage) (text string, err error) {
	err = json.Unmarshal(raw, &text)
	return text, err
}

func readValue(raw json.RawMessage) ([]byte, error) {
	if raw[0] != '"' {
		return nil, fmt.Errorf("its value, %s, is not text; JSON as a value is text too, in quotes", excerpt(raw))
	}
	text, err := readText(raw)
	return []byte(text), err
}

func readBase64(raw json.RawMessage) ([]byte, error) {
	if raw[0] != '"' {
		return nil, fmt.Errorf("its value_base64, %s, is not text", excerpt(raw))
	}
	text, err := readText(raw)
	if err != nil {
		return nil, err
	}
	value, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		err = fmt.Errorf("its value_base64 is not standard base64 with padding: %w", err)
	}
	return value, err
}

// readExpiry refuses what is before 1973 in milliseconds: such a number is in seconds.
func readExpiry(raw json.RawMessage) (int64, error) {
	expiresAt, err := strconv.ParseInt(string(raw), 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("its expires_at, %s, is not a whole number of Unix milliseconds", excerpt(raw))
	case expiresAt < 100_000_000_000:
		return 0, fmt.Errorf("its expires_at, %d, is before 1973: the field takes Unix milliseconds, not seconds", expiresAt)
	case expiresAt-time.Now().UnixMilli() > longestTTL:
		return 0, fmt.Errorf("its expires_at, %d, is more than %d ms ahead", expiresAt, longestTTL)
	}
	return expiresAt, nil
}

func readTTL(raw json.RawMessage) (int64, error) {
	if string(raw) == `"`+lineNever+`"` {
		return ttlNever, nil
	}
	ttl, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || ttl < 1 || ttl > longestTTL {
		return 0, fmt.Errorf("its ttl, %s, is neither %q nor milliseconds from 1 to %d", excerpt(raw), lineNever, longestTTL)
	}
	return ttl, nil
}
