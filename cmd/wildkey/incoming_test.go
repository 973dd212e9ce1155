package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// exactly returns the texts of JSON as they are, by its grammar alone, and false if one
// of them is none: an oracle for what import takes.
func exactly(literal string) (text string, ok bool) {
	var out []byte
	for rest := strings.TrimSuffix(strings.TrimPrefix(literal, `"`), `"`); rest != ""; {
		if rest[0] != '\\' {
			out, rest = append(out, rest[0]), rest[1:]
			continue
		}
		if i := strings.IndexByte(`"\/bfnrt`, rest[1]); i >= 0 {
			out, rest = append(out, "\"\\/\b\f\n\r\t"[i]), rest[2:]
			continue
		}
		var unit, second rune
		fmt.Sscanf(rest[2:6], "%04x", &unit)
		rest = rest[6:]
		switch {
		case unit < 0xd800 || unit > 0xdfff:
		case unit < 0xdc00 && len(rest) >= 6 && rest[:2] == `\u`:
			if fmt.Sscanf(rest[2:6], "%04x", &second); second < 0xdc00 || second > 0xdfff {
				return "", false
			}
			unit, rest = 0x10000+(unit-0xd800)<<10+(second-0xdc00), rest[6:]
		default:
			return "", false
		}
		out = utf8.AppendRune(out, unit)
	}
	return string(out), utf8.Valid(out)
}

// FuzzParseLine: whatever a line is, its record is just what it says, or there is none.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		`{"key":"user:42","value":"é","expires_at":1767225600000}`,
		`{"key":["user",42,"a\ud83d\ude00\ufffd"],"value":"\u0000\\ud800\"","ttl":60000}`,
		`{"key":["u","a\ud800b"],"value":"one","ttl":"never"}`,
		`{"key":["u"],"value":"two\udfff\ud800","ttl":1}`,
		`{"key":["u",1e3,-0],"value_base64":"/wA=","ttl":0}`,
		`{"Key":"u","key":"v","key":"w","value":null,"ttl":1.5}`,
		`{"key":"a","value":"\ud800\u0041","ttl":"never"} {}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := parseLine(text, 0)
		if err != nil {
			if err.Error() == "" || !utf8.ValidString(visible(err.Error())) {
				t.Errorf("%q: %q", text, err)
			}
			return
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatalf("%q was taken, and is no JSON: %v", text, err)
		}
		names := 0
		for i, name := range lineFields {
			if fields[name] == nil {
				continue
			}
			if names++; i < 2 && fields[name][0] == '"' {
				said, ok := exactly(string(fields[name]))
				if got := []string{in.key.String(), string(in.value)}[i]; !ok || got != said {
					t.Errorf("%q was taken as %q, and says %q, %t", text, got, said, ok)
				}
			}
		}
		if names != len(fields) || names != 3 {
			t.Errorf("%q was taken with fields %v", text, slices.Collect(maps.Keys(fields)))
		}
		var segments []json.RawMessage
		if json.Unmarshal(fields["key"], &segments) == nil {
			var said wildkey.Key
			for _, segment := range segments {
				text := string(segment)
				if text[0] == '"' {
					var ok bool
					if text, ok = exactly(text); !ok {
						t.Errorf("%s was taken", segment)
					}
				} else if n := strings.TrimLeft(text, "-"); n == "" || strings.Trim(n, "0123456789") != "" || text == "-0" {
					t.Errorf("%s was taken", segment)
				}
				said = append(said, text)
			}
			if diff := cmp.Diff(said, in.key); diff != "" {
				t.Errorf("%q (-says +taken as)\n%s", text, diff)
			}
		}
		if encoded := in.key.String(); in.key == nil {
			t.Errorf("%q was taken without a key", text)
		} else if back, err := wildkey.ParseKey(encoded); err != nil || !slices.Equal(back, in.key) {
			t.Errorf("%q was taken with the key %q: %v", text, encoded, err)
		}
		for name, got := range map[string]int64{"expires_at": in.expiresAt, "ttl": in.ttl} {
			if said := string(fields[name]); said != "" && said != `"never"` && said != fmt.Sprint(got) {
				t.Errorf("%q was taken with %s %d", text, name, got)
			}
		}
	})
}

// TestRoundTrip exports random records, imports them elsewhere, and exports them again.
func TestRoundTrip(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client, random := context.Background(), server.Client(t), rand.New(rand.NewPCG(1, 2))
		run := func(in []byte, args ...string) []byte {
			t.Helper()
			var out, messages bytes.Buffer
			args = append([]string{"--url", "redis://" + server.Addr}, args...)
			if code := newTool(bytes.NewReader(in), &out, &messages).run(ctx, args); code != 0 {
				t.Fatalf("%v: exit code %d, %s", args, code, messages.String())
			}
			return out.Bytes()
		}
		text := func(n int) string {
			alphabet := []string{"a", "Z", ":", "%", "\\", `"`, "\n", "\r", "\x00", "\x7f", "é", "\u2028", "\ufeff", "\ufffd", "😀", "\xff", "\xed\xa0\x80"}
			var b strings.Builder
			for range n {
				b.WriteString(alphabet[random.IntN(len(alphabet))])
			}
			return b.String()
		}
		start := time.Now()
		s := connect(t, server, writing)
		const n = 2_000
		keys := map[string]bool{}
		for range n {
			key := wildkey.K(text(1 + random.IntN(3)))
			for range random.IntN(3) {
				key = key.Child(text(1 + random.IntN(9)))
			}
			record := wildkey.Record{Key: key, Value: []byte(text(random.IntN(40))), TTL: wildkey.NoExpiry}
			years := random.IntN(9)
			if years > 0 {
				record.TTL = time.Hour + time.Duration(random.Int64N(int64(time.Hour)))
			}
			must(t, s.cache.Put(ctx, record))
			if name, err := s.layout.Record(key); years > 1 {
				must(t, err)
				must(t, client.Do(ctx, "PEXPIRE", name, 1+int64(years)*int64(years)*200*365*86_400_000).Err())
			}
			keys[key.String()] = true
		}
		first := run(nil, "-n", "app", "export")
		run(first, "-n", "copy", "--shards", "3", "import")
		second := run(nil, "-n", "copy", "--shards", "3", "export")
		elapsed := time.Since(start).Milliseconds()

		read := func(export []byte) (records []incoming, expiries []int64) {
			for _, line := range bytes.Split(bytes.TrimSuffix(export, []byte("\n")), []byte("\n")) {
				record, err := parseLine(line, 0)
				must(t, err)
				expiries = append(expiries, record.expiresAt)
				record.expiresAt = min(record.expiresAt, 1)
				records = append(records, record)
			}
			return records, expiries
		}
		before, expiredBefore := read(first)
		after, expiredAfter := read(second)
		if diff := cmp.Diff(before, after, cmp.AllowUnexported(incoming{})); diff != "" || len(before) != len(keys) {
			t.Fatalf("%d records of %d (-before +after)\n%s", len(before), len(keys), diff)
		}
		long := 0
		for i, at := range expiredBefore {
			if moved := expiredAfter[i] - at; moved < -elapsed-1 || moved > elapsed+1 {
				t.Errorf("%s expires %d ms later than before, and all took %d", before[i].key, moved, elapsed)
			}
			if at-start.UnixMilli() > 2*wildkey.MaxTTL.Milliseconds() { // which no record cut to it has
				long++
			}
		}
		if long == 0 || long == len(keys) {
			t.Errorf("%d records of %d have more than 292 years", long, len(keys))
		}
	})
}
