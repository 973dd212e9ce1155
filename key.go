package wildkey

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

const maxEncodedKey = 4096

// Key is the name of a record: a list of segments from the general to the particular,
// such as ("user", "42", "session", "abc"). A key has at least one segment. No segment
// is empty, and segments may hold any bytes.
type Key []string

// K makes a Key from its parts. It uses the text of an encoding.TextMarshaler or a
// fmt.Stringer, in this order of preference. Strings, byte slices, integers and booleans
// become their usual text. A part that is nil, has another type or fails to marshal
// becomes an empty segment, which every verb refuses, so a missing id never addresses a
// record. A Key also becomes an empty segment: use Child. So do an int32 and a uint8,
// which may be a rune or a byte: write int(n) for a number and string(r) for a character.
func K(parts ...any) Key {
	key := make(Key, len(parts))
	for i, part := range parts {
		key[i] = segmentText(part)
	}
	return key
}

// Child returns a key beneath k: the segments of k, followed by the parts, which it
// converts like K. It does not change k.
func (k Key) Child(parts ...any) Key {
	return append(slices.Clip(k), K(parts...)...)
}

func segmentText(part any) string {
	value := reflect.ValueOf(part)
	if value.Kind() == reflect.Pointer && value.IsNil() {
		return ""
	}
	switch part := part.(type) {
	case Key, int32, uint8: // an int32 or uint8 may be a character, whose number nobody wants
		return ""
	case encoding.TextMarshaler:
		text, err := part.MarshalText()
		if err != nil {
			return ""
		}
		return string(text)
	case fmt.Stringer:
		return part.String()
	}
	if value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8 {
		return string(value.Bytes())
	}
	if value.CanInt() || value.CanUint() || value.Kind() == reflect.Bool || value.Kind() == reflect.String {
		return fmt.Sprint(part)
	}
	return ""
}

// String returns the encoded key: its segments, joined by colons. In each segment all
// bytes except the unreserved ones of RFC 3986, section 2, are percent-encoded in upper
// case. ParseKey(k.String()) is k for every valid k.
func (k Key) String() string {
	return string(k.append(nil))
}

func (k Key) append(dst []byte) []byte {
	for i, segment := range k {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = appendEncoded(dst, segment)
	}
	return dst
}

func appendEncoded(dst []byte, segment string) []byte {
	const digits = "0123456789ABCDEF"
	for _, b := range []byte(segment) {
		if isUnreserved(b) {
			dst = append(dst, b)
		} else {
			dst = append(dst, '%', digits[b>>4], digits[b&15])
		}
	}
	return dst
}

func encodeSegment(segment string) string { return string(appendEncoded(nil, segment)) }

func isUnreserved(b byte) bool {
	return 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z' || '0' <= b && b <= '9' ||
		b == '-' || b == '.' || b == '_' || b == '~'
}

// ParseKey parses an encoded key. It returns ErrInvalidKey for any text that String does
// not return for a valid key.
func ParseKey(encoded string) (Key, error) {
	if len(encoded) > maxEncodedKey {
		return nil, fmt.Errorf("%w: it has %d bytes encoded, %d are allowed", ErrInvalidKey, len(encoded), maxEncodedKey)
	}
	key := Key(strings.Split(encoded, ":"))
	for i, segment := range key {
		text, err := decodeSegment(segment)
		if err != nil || text == "" {
			return nil, fmt.Errorf("%w: %q: segment %d %v", ErrInvalidKey, encoded, i+1, cmp.Or(err, errors.New("is empty")))
		}
		key[i] = text
	}
	return key, nil
}

// decodeSegment accepts only the spelling that appendEncoded produces.
func decodeSegment(encoded string) (string, error) {
	if strings.IndexFunc(encoded, func(r rune) bool { return r > 127 || !isUnreserved(byte(r)) }) < 0 {
		return encoded, nil
	}
	text, err := url.PathUnescape(encoded)
	if err != nil {
		return "", errors.New("has a broken escape")
	}
	if canonical := encodeSegment(text); canonical != encoded {
		return "", fmt.Errorf("is spelled %q, not %q", canonical, encoded)
	}
	return text, nil
}

// encode returns the encoded key after prefix.
func (k Key) encode(prefix string) (string, error) {
	if len(k) == 0 {
		return "", fmt.Errorf("%w: it has no segment", ErrInvalidKey)
	}
	if i := slices.Index(k, ""); i >= 0 {
		return "", fmt.Errorf("%w: %q: segment %d is empty, or of a type that K does not take", ErrInvalidKey, k.String(), i+1)
	}
	// Most keys fit the stack: the string is then the only allocation.
	encoded := k.append(append(make([]byte, 0, 128), prefix...))
	if length := len(encoded) - len(prefix); length > maxEncodedKey {
		return "", fmt.Errorf("%w: it has %d bytes encoded, %d are allowed", ErrInvalidKey, length, maxEncodedKey)
	}
	return string(encoded), nil
}
