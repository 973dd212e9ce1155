package main

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// TestTextLength holds the length of each rune against what marshal makes of it.
func TestTextLength(t *testing.T) {
	for first := rune(0); first <= utf8.MaxRune; first += 64 {
		var text strings.Builder
		for r := first; r < first+64; r++ {
			if utf8.ValidRune(r) {
				text.WriteRune(r)
			}
		}
		line, err := marshal(text.String())
		must(t, err)
		if got, want := textLength([]byte(text.String())), len(line)-len("\"\"\n"); got != want {
			t.Errorf("%U and the 63 after it: %d, want %d", first, got, want)
		}
	}
}

// TestLastMoment: a record that lives to the end of the server's clock expires at the end of this one too.
func TestLastMoment(t *testing.T) {
	l := newLine(record{Entry: wildkey.Entry{TTL: wildkey.MaxTTL}, at: time.UnixMilli(2), beyond: math.MaxInt64 - 1}, false)
	if *l.ExpiresAt != math.MaxInt64 {
		t.Errorf("expires at %d", *l.ExpiresAt)
	}
}

// TestLongestLine: what export writes of the longest string of Redis, import reads.
func TestLongestLine(t *testing.T) {
	const mebibyte = 1 << 20
	longest := base64Length(512 * mebibyte)
	if longest+64*1024 > importLine {
		t.Errorf("base64 takes %d bytes, and a line has up to %d", longest, importLine)
	}
	for _, value := range []string{"\x00", "\"", "\u202e", "\U000e0001", "\xff", "v", "é"} {
		value := strings.Repeat(value, mebibyte/len(value))
		entry := wildkey.Entry{Key: wildkey.K("k"), Value: []byte(value), TTL: wildkey.NoExpiry}
		text, err := marshal(newLine(record{Entry: entry}, true))
		must(t, err)
		if most := base64Length(len(value)) + len(`{"key":"k","value":"","ttl":"never"}`+"\n"); len(text) > most {
			t.Errorf("%d bytes of %q are a line of %d, and base64 takes %d", len(value), value[:4], len(text), most)
		}
		back, err := parseLine(text, 0)
		must(t, err)
		if string(back.value) != value {
			t.Errorf("%q comes back as another value", value[:4])
		}
	}
}
