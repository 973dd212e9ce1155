package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestUnits(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{number(0), "0"}, {number(999), "999"}, {number(1000), "1,000"}, {number(-123456), "-123,456"},
		{number(1234567), "1,234,567"},
		{records(1), "1 record"}, {records(2000), "2,000 records"},
		{size(0), "0 B"}, {size(1023), "1023 B"}, {size(1536), "1.5 KiB"}, {size(3 << 20), "3.0 MiB"},
		{size(5 << 40), "5.0 TiB"}, {size(5 << 50), "5120.0 TiB"},
		{percent(0), "0.0%"}, {percent(0.0001), "<0.1%"}, {percent(0.25), "25.0%"}, {percent(1), "100.0%"},
		{span(-time.Second), "0ms"}, {span(999 * time.Millisecond), "999ms"}, {span(59 * time.Second), "59s"},
		{span(61 * time.Second), "1m1s"}, {span(90 * time.Minute), "1h30m"}, {span(36*time.Hour + 59*time.Minute), "1d12h"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// FuzzQuote: whatever the text, nothing that a terminal obeys is shown, and
// JSON keeps what is UTF-8.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x1b[31m", "\xff\xfe", "\u009b1m", "\u202ertl", "two\nlines", "\t", `"`, "\U000e0001",
		"\ufffd", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line, err := marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, shown := range map[string]string{
			"plain": plain(text), "clipped": clipped(text, 20), "JSON": strings.TrimSuffix(string(line), "\n"),
		} {
			if !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s of %q is %q", name, text, shown)
			}
		}
		if shown := visible(text); !utf8.ValidString(shown) || strings.ContainsFunc(shown, func(r rune) bool {
			return r != '\n' && r != '\t' && !unicode.IsPrint(r)
		}) {
			t.Errorf("visible of %q is %q", text, shown)
		}
		if n := utf8.RuneCountInString(clipped(text, 20)); n > 20 {
			t.Errorf("clipped of %q has %d runes", text, n)
		}
		var back string
		if err := json.Unmarshal(line, &back); err != nil || utf8.ValidString(text) && back != text {
			t.Errorf("%q comes back as %q, %v", text, back, err)
		}
	})
}

func TestTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 7 * 24 * time.Hour, "90s": 90 * time.Second, "1ms": time.Millisecond, "1h30m": 90 * time.Minute,
		"1d12h": 36 * time.Hour, "36h30m": 36*time.Hour + 30*time.Minute, "1w": 7 * 24 * time.Hour,
		"1w2d": 9 * 24 * time.Hour, "1w2d3h4m5s6ms": 219*time.Hour + 4*time.Minute + 5006*time.Millisecond,
		"1.5h": 90 * time.Minute, "106751d": 106751 * 24 * time.Hour,
		"0s": 0, "0d": 0, "-1h": 0, "1us": 0, "d": 0, "1.5d": 0, "99999999d": 0, "": 0, "soon": 0,
		"0w0d": 0, "1d-1h": 0, "1d1w": 0, "1h1d": 0, "1d 1h": 0, "1d12": 0, "5": 0, "+1h": 0, "1D": 0,
		"106752d": 0, "106751d24h": 0, "99999999999999999999w": 0,
	} {
		var got ttl
		if err := got.Set(text); (err == nil) != (want > 0) || err == nil && time.Duration(got) != want {
			t.Errorf("%q: %v, %v; want %v, or an error where that is 0", text, time.Duration(got), err, want)
		}
	}
}
