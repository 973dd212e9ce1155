package main

import (
	"math"
	"os"
	"strings"

	"github.com/rivo/uniseg"
	"golang.org/x/term"
)

// width returns how many columns a stream has. What is no terminal has no end of them, so that
// there nothing is wrapped.
func (t *tool) width(stream any) int {
	if !t.isTerminal(stream) {
		return math.MaxInt
	}
	if file, ok := stream.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// tied is a space at which no line ends.
const tied = "\u00a0"

// wrapped returns the lines of a text that has so many columns. A word that is longer stays
// whole: a terminal continues it on the next line, and copies it without a break.
func wrapped(text string, columns int) []string {
	var lines []string
	for _, paragraph := range strings.Split(text, "\n") {
		line := ""
		for i, word := range strings.Split(paragraph, " ") {
			switch {
			case i == 0:
				line = word
			case uniseg.StringWidth(line)+1+uniseg.StringWidth(word) <= columns:
				line += " " + word
			default:
				lines, line = append(lines, line), word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// hanging returns a mark and a text behind a head of so many columns, each line of the text
// beneath the first. A terminal that is too narrow for this has the head on a line of its own.
func hanging(head string, indent int, mark, text string, width int) string {
	const narrow = 2
	if width-indent < 30 && indent > narrow {
		if head = strings.TrimRight(head, " "); head != "" {
			head += "\n"
		}
		indent = narrow
		head += strings.Repeat(" ", indent)
	}
	indent += len(mark)
	return head + mark + strings.Join(wrapped(text, width-indent), "\n"+strings.Repeat(" ", indent)) + "\n"
}
