package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wildkey/wildkey"
)

// plain returns text as a terminal may show it: as it is, if every rune of it
// can be seen, else in quotes, with Go's escapes. Encoded keys need none.
func plain(text string) string {
	if text == "" || text[0] == '"' || visible(text) != text || strings.ContainsAny(text, "\n\t") {
		return strconv.Quote(text)
	}
	return text
}

// escaped returns text as redis-cli reads it, which has an escape for a byte and
// none for a rune: as it is, if it is an encoded key, else in quotes. A shell that it
// is pasted into has nothing to do with it, and no space in it begins another word.
func escaped(text string) string {
	if _, err := wildkey.ParseKey(text); err == nil {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || strings.IndexByte("\"\\$`!", c) >= 0 {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// clipped is plain, cut to so many runes.
func clipped(text string, runes int) string {
	head := text
	if len(text) > 4*runes {
		head = text[:4*runes] // no more than these can be shown
	}
	shown := []rune(plain(head))
	if len(shown) <= runes && len(head) == len(text) {
		return string(shown)
	}
	return string(shown[:min(len(shown), runes-1)]) + "…"
}

// visible returns text with an escape in the place of all that a terminal
// would obey or not show: control characters but newlines and tabs, directions
// of writing, bytes that are no UTF-8.
func visible(text string) string {
	var b strings.Builder
	for i, r := range text {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == '\n' || r == '\t' || strconv.IsPrint(r) && (r != utf8.RuneError || size > 1):
			b.WriteRune(r)
		default:
			quoted := strconv.Quote(text[i : i+size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// marshal returns v as one line of JSON in which every rune can be seen.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	line := b.Bytes()
	// JSON has escapes for what is below a space; the rest is left to its writer.
	if bytes.IndexFunc(line, func(r rune) bool { return r > '~' && !strconv.IsPrint(r) }) < 0 {
		return line, nil
	}
	var escaped []byte
	for _, r := range string(line) {
		if r <= '~' || strconv.IsPrint(r) {
			escaped = utf8.AppendRune(escaped, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			escaped = fmt.Appendf(escaped, `\u%04x`, unit)
		}
	}
	return escaped, nil
}
