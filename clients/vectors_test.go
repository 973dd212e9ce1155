package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
	"github.com/wildkey/wildkey/internal/module"
)

const vectorsPath = "scripts/testdata/vectors.json" // from the root of the module

// vectors is what scripts/testdata/vectors.json holds, for the tests of every
// language. clients/README.md says how to read it.
type vectors struct {
	Keys            []keyVector       `json:"keys"`
	RefusedSegments [][]byteString    `json:"refused_segments"`
	RefusedEncoded  []byteString      `json:"refused_encoded"`
	Patterns        []patternVector   `json:"patterns"`
	RefusedPatterns []byteString      `json:"refused_patterns"`
	Shards          []shardVector     `json:"shards"`
	Leases          []leaseVector     `json:"leases"`
	LeasePatterns   []patternVector   `json:"lease_patterns"`
	LeaseCalls      []leaseCallVector `json:"lease_calls"`
	Calls           []callVector      `json:"calls"`
}

type keyVector struct {
	Segments []byteString `json:"segments"`
	Encoded  byteString   `json:"encoded"`
}

type patternVector struct {
	Text  byteString   `json:"text"`
	Terms []byteString `json:"terms"`
}

type shardVector struct {
	Namespace byteString   `json:"namespace"`
	Segments  []byteString `json:"segments"`
	Shards    int          `json:"shards"`
	Leading   int          `json:"leading"`
	Shard     int          `json:"shard"`
	Tag       byteString   `json:"tag"`
}

type callVector struct {
	Case    byteString      `json:"case"`
	Command []byteString    `json:"command"`
	Reply   json.RawMessage `json:"reply"`
}

// byteString is any bytes; in JSON, where text is all there is, each byte is
// the character of that number, U+0000 to U+00FF.
type byteString string

func (s byteString) MarshalJSON() ([]byte, error) {
	text := []byte{'"'}
	for _, b := range []byte(s) {
		switch {
		case b == '"' || b == '\\':
			text = append(text, '\\', b)
		case ' ' <= b && b <= '~':
			text = append(text, b)
		default:
			text = fmt.Appendf(text, `\u%04x`, b)
		}
	}
	return append(text, '"'), nil
}

func (s *byteString) UnmarshalJSON(text []byte) error {
	var characters string
	if err := json.Unmarshal(text, &characters); err != nil {
		return err
	}
	*s = ""
	for _, character := range characters {
		if character > 0xFF {
			return fmt.Errorf("%q is no byte", character)
		}
		*s += byteString([]byte{byte(character)})
	}
	return nil
}

func byteStrings(texts ...string) []byteString {
	list := make([]byteString, len(texts))
	for i, text := range texts {
		list[i] = byteString(text)
	}
	return list
}

func keyOf(segments []byteString) wildkey.Key {
	key := make(wildkey.Key, len(segments))
	for i, segment := range segments {
		key[i] = string(segment)
	}
	return key
}

// TestVectors expects the file to be what the Go package and the corpus say.
func TestVectors(t *testing.T) {
	want := formatVectors(t, vectors{
		Keys: keyVectors(),
		RefusedSegments: [][]byteString{
			{}, byteStrings(""), byteStrings("a", ""), byteStrings("", "a"), byteStrings("a", "", "b"),
			byteStrings(strings.Repeat("a", 4097)), byteStrings(strings.Repeat("\x00", 1366)),
		},
		RefusedEncoded: byteStrings(
			"", ":", "a:", ":a", "a::b", "%", "%4", "%4g", "%g4", "%%41", "%2", "a%", "%:00",
			"%41", "%7a", "%30", "%2D", "%2E", "%5F", "%7E", "%2d", "%7e", "%c3%A9", "%3a", "%0a",
			"a b", "a+b", "a*", "*", "a/b", "{a}", "a#", "!", "!a", "!!a", "a:!b", "a\n", "a\x00", "a\x7f", "\xc3\xa9", "\xff",
			strings.Repeat("a", 4097), strings.Repeat("a:", 2048)+"a", strings.Repeat("%00", 1366),
		),
		Patterns: patternVectors(t),
		RefusedPatterns: byteStrings(
			"", ":", "a::b", "a:", ":a", "a:*:", "**:x", "a:**:b", "**:**", "***", "a**", "a*b*", "*a*", "**a", "<", "a<b<c", "a<b*", "*<b",
			"a b", "a%3a", "%41", "%41*", "%", "%2*", "a/b", "{a}", "a#", "!a", "!**", "!!a", "a:!b", "a?", "[a]", "a\n", "a\x00", "\xc3\xa9",
		),
		Shards:        shardVectors(),
		Leases:        leaseVectors(t),
		LeasePatterns: leasePatternVectors(t),
		LeaseCalls:    leaseCallVectors(t),
		Calls:         callVectors(t),
	})
	if *corpus.Update {
		backend.Must(t, os.WriteFile(module.Path(vectorsPath), want, 0o666))
	}
	got, err := os.ReadFile(module.Path(vectorsPath))
	backend.Must(t, err)
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("run: make generated (-want +%s)\n%s", vectorsPath, diff)
	}
}

// formatVectors writes a vector a line, so that a change of one is one line.
func formatVectors(t *testing.T, v vectors) []byte {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	lists := reflect.ValueOf(v)
	for i := range lists.NumField() {
		fmt.Fprintf(&text, "%s\n%q: [\n", []string{"{", "],"}[min(i, 1)], lists.Type().Field(i).Tag.Get("json"))
		for j := range lists.Field(i).Len() {
			if j > 0 {
				text.Truncate(text.Len() - 1) // the encoder's newline
				text.WriteString(",\n")
			}
			backend.Must(t, encoder.Encode(lists.Field(i).Index(j).Interface()))
		}
	}
	text.WriteString("]\n}\n")
	return text.Bytes()
}

func keyVectors() (list []keyVector) {
	var allBytes, eachByte []string
	for b := range 256 {
		eachByte = append(eachByte, string([]byte{byte(b)}))
	}
	allBytes = []string{strings.Join(eachByte, "")}
	for _, segments := range [][]string{
		{"user", "42", "session", "abc"},
		{"AZaz09-._~"},
		{"a:b"}, {"a", "b"}, {"a:", ":b"},
		{"*{}/# +%"}, {"**"}, {"%41"}, {"-"}, {"a\nb", "\r", "\t"},
		{"é", "日本", "🔑"},
		{"\x00"}, {"\x00\xff", "\xc3"}, {"\xed\xa0\x80"},
		allBytes, eachByte,
		{strings.Repeat("a", 4096)}, {strings.Repeat("\xff", 1365)},
		strings.Split(strings.Repeat("a:", 2047)+"aa", ":"),
	} {
		list = append(list, keyVector{byteStrings(segments...), byteString(wildkey.Key(segments).String())})
	}
	return list
}

func patternVectors(t *testing.T) (list []patternVector) {
	for _, text := range []string{
		"user:42:session:abc", "user:42:session:*", "user:*:session:**", "**", "*", "*:*", "*:**", "a:**",
		"abc*", "a*:b", "2024-*:**", "%2A", "%2A*", "*%40example.com", "a*b", "*a:*", "2024-01<2024-02:**", "a<", "<%FF", "a%3A*:%2A%2A", "%00%FF:*", "%C3%A9*", "-", "~*",
		strings.Repeat("a", 4096),
	} {
		list = append(list, patternVector{byteString(text), termsOf(t, wildkey.MustParsePattern(text))})
	}
	return list
}

// termsOf returns the terms of a pattern as a Cache passes them to match.lua.
func termsOf(t *testing.T, pattern wildkey.Pattern) (terms []byteString) {
	t.Helper()
	backend.OnEngine(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		backend.Warm(t, cache)
		b.Engine.ResetTrace()
		_, err := cache.Count(ctx, pattern)
		backend.Must(t, err)
		call := b.Engine.Trace()[0]
		argv := call.Args[3+len(call.Keys()):] // behind EVALSHA_RO, the digest and the number of keys
		terms = byteStrings(argv[5:]...)       // behind want, cursor, limit, reads and bytes
	})
	return terms
}

func shardVectors() (list []shardVector) {
	user := []string{"user", "42", "session", "abc"}
	for _, row := range []struct {
		namespace       string
		key             []string
		shards, leading int
	}{
		{"app", []string{"123456789"}, 1 << 30, 1},
		{"app", user, 1, 1}, {"app", user, 2, 1},
		{"app", user, 48, 1}, {"app", user, 48, 2}, {"app", user, 48, 4}, {"app", user, 48, 9},
		{"app", []string{"a:b"}, 16, 1}, {"app", []string{"a", "b"}, 16, 1}, {"app", []string{"a", "b"}, 16, 2},
		{"my app", []string{"\x00\xff", "é"}, 7, 2}, {"a#1", []string{"k"}, 3, 1}, {"\xff", []string{"k"}, 1, 1},
	} {
		shard := wildkey.Key(row.key).Shard(row.shards, row.leading)
		tag := "{" + wildkey.Key{row.namespace}.String() + "}"
		if row.shards > 1 {
			tag = fmt.Sprintf("{%s#%d/%d/%d}", wildkey.Key{row.namespace}, shard, row.shards, row.leading)
		}
		list = append(list, shardVector{
			byteString(row.namespace), byteStrings(row.key...), row.shards, row.leading, shard, byteString(tag),
		})
	}
	return list
}

// callVectors are the commands and replies of the corpus, each case behind a
// FLUSHALL, with nothing left that only the corpus understands but a script's
// name for its digest.
func callVectors(t *testing.T) (list []callVector) {
	for _, script := range wildkey.Scripts() {
		for _, one := range corpus.Read(t, script.Name) {
			add := func(reply string, words ...string) {
				parsed := parseReply(t, reply)
				if back := corpus.FormatReply(parsed); back != reply {
					t.Fatalf("%s: the reply\n%s\nis read as\n%s", one.Name, reply, back)
				}
				encoded, err := json.Marshal(jsonReply(parsed))
				backend.Must(t, err)
				list = append(list, callVector{byteString(script.Name + ": " + one.Name), byteStrings(words...), encoded})
			}
			add(`"OK"`, "FLUSHALL")
			full := false
			for _, step := range one.Steps {
				var words []string
				for _, word := range corpus.Split(step.Command) {
					if strings.HasPrefix(word, `"`) {
						text, err := strconv.Unquote(word)
						backend.Must(t, err)
						word = text
					} else if strings.HasPrefix(word, "@") {
						t.Fatalf("%s: clients know no times such as %s", one.Name, word)
					}
					words = append(words, word)
				}
				if words[0] == "MAXMEMORY" {
					full = words[1] != "0"
					add(`"OK"`, "CONFIG", "SET", "maxmemory", words[1])
				} else {
					add(step.Reply, words...)
				}
			}
			if full {
				add(`"OK"`, "CONFIG", "SET", "maxmemory", "0")
			}
		}
	}
	return list
}

// parseReply reads what corpus.FormatReply writes.
func parseReply(t *testing.T, text string) any {
	t.Helper()
	if message, ok := strings.CutPrefix(text, "(error) "); ok {
		return errors.New(message)
	}
	if digits, ok := strings.CutPrefix(text, "(integer) "); ok {
		n, err := strconv.ParseInt(digits, 10, 64)
		backend.Must(t, err)
		return n
	}
	if strings.HasPrefix(text, `"`) {
		value, err := strconv.Unquote(text)
		backend.Must(t, err)
		return value
	}
	items := []any{}
	switch text {
	case "(nil)":
		return nil
	case "(empty array)":
		return items
	}
	for n, more := 1, true; more; n++ {
		number := fmt.Sprintf("%d) ", n)
		var item string
		item, text, more = strings.Cut(strings.TrimPrefix(text, number), fmt.Sprintf("\n%d) ", n+1))
		unindented := strings.ReplaceAll(item, "\n"+strings.Repeat(" ", len(number)), "\n")
		items = append(items, parseReply(t, unindented))
	}
	return items
}

// jsonReply is a reply as a callVector has it.
func jsonReply(reply any) any {
	switch reply := reply.(type) {
	case string:
		return byteString(reply)
	case error:
		return map[string]byteString{"error": byteString(reply.Error())}
	case []any:
		items := make([]any, len(reply))
		for i, item := range reply {
			items[i] = jsonReply(item)
		}
		return items
	}
	return reply
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	content, err := os.ReadFile(module.Path(vectorsPath))
	backend.Must(t, err)
	backend.Must(t, json.Unmarshal(content, &v))
	return v
}

// TestVectorsInGo holds the Go package to the file, as each other client is.
func TestVectorsInGo(t *testing.T) {
	v := readVectors(t)
	for _, row := range v.Keys {
		if got := keyOf(row.Segments).String(); got != string(row.Encoded) {
			t.Errorf("%q is encoded %q, want %q", row.Segments, got, row.Encoded)
		}
		back, err := wildkey.ParseKey(string(row.Encoded))
		if diff := cmp.Diff(keyOf(row.Segments), back); diff != "" || err != nil {
			t.Errorf("ParseKey(%q): %v (-want +got)\n%s", row.Encoded, err, diff)
		}
	}
	for _, text := range v.RefusedEncoded {
		if key, err := wildkey.ParseKey(string(text)); !errors.Is(err, wildkey.ErrInvalidKey) {
			t.Errorf("ParseKey(%.50q): %.50q, %v", text, key, err)
		}
	}
	for _, row := range v.Patterns {
		p, err := wildkey.ParsePattern(string(row.Text))
		backend.Must(t, err)
		if diff := cmp.Diff(row.Terms, termsOf(t, p)); diff != "" {
			t.Errorf("the terms of %q (-want +got)\n%s", row.Text, diff)
		}
	}
	for _, text := range v.RefusedPatterns {
		if p, err := wildkey.ParsePattern(string(text)); !errors.Is(err, wildkey.ErrBadPattern) {
			t.Errorf("ParsePattern(%q): %q, %v", text, p, err)
		}
	}
	for _, row := range v.Shards {
		if got := keyOf(row.Segments).Shard(row.Shards, row.Leading); got != row.Shard {
			t.Errorf("%+v: %d", row, got)
		}
		if row.Shards > 16_384 {
			continue // more than a Layout has
		}
		layout, err := wildkey.NewLayout(string(row.Namespace), row.Shards, row.Leading)
		backend.Must(t, err)
		if got := layout.Tag(row.Shard); got != string(row.Tag) {
			t.Errorf("%+v: %s", row, got)
		}
	}
	backend.Each(t, func(t *testing.T, b *backend.Backend) {
		cache := b.Cache(t, wildkey.Options{})
		for _, segments := range v.RefusedSegments {
			if _, err := cache.Get(ctx, keyOf(segments)); !errors.Is(err, wildkey.ErrInvalidKey) {
				t.Errorf("Get(%.50q): %v", segments, err)
			}
		}
		for _, row := range v.Calls {
			got, err := json.Marshal(jsonReply(call(t, b, row.Command)))
			backend.Must(t, err)
			if string(got) != string(row.Reply) {
				t.Errorf("%s: %.200q\n got %s\nwant %s", row.Case, row.Command, got, row.Reply)
			}
		}
	})
}

// call runs the command of a callVector.
func call(t *testing.T, b *backend.Backend, command []byteString) any {
	t.Helper()
	words := make([]any, len(command))
	for i, word := range command {
		words[i] = string(word)
	}
	if strings.HasPrefix(words[0].(string), "EVALSHA") {
		words[1] = corpus.Load(t, b.Client, words[1].(string))
		if b.LacksReadOnlyScripts() {
			words[0] = "EVALSHA"
		}
	}
	reply, err := b.Client.Do(ctx, words...).Result()
	if err != nil && err != redis.Nil {
		return errors.New(corpus.ErrorText(err))
	}
	return reply
}
