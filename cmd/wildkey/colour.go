package main

import "os"

// style is how a terminal shows a word, by the number of its escape sequence. Each can be
// read on a light and on a dark background, which leaves out yellow, cyan and blue.
type style string

const (
	bold    style = "1"
	alarm   style = "1;31" // bold red
	remark  style = "35"   // magenta
	success style = "32"   // green
)

// styled returns text as this stream shows it in a style. A terminal gives its colours their
// looks: escape sequences are all that there is to know, so no library is asked.
func (t *tool) styled(stream any, style style, text string) string {
	if t.json || !t.isTerminal(stream) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[m"
}
