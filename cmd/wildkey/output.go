package main

import (
	"fmt"
	"strings"
)

// line writes one line of JSON.
func (t *tool) line(v any) error {
	line, err := marshal(v)
	if err == nil {
		_, err = t.out.Write(line)
	}
	return err
}

// result writes the one result of a command: as JSON, or as a sentence.
func (t *tool) result(machine any, sentence string, args ...any) error {
	if t.json {
		return t.line(machine)
	}
	_, err := fmt.Fprintln(t.out, strings.Join(wrapped(fmt.Sprintf(sentence, args...), t.width(t.stdout)), "\n"))
	return err
}

// note tells people, not machines, something beside the output.
func (t *tool) note(sentence string, args ...any) {
	if !t.json {
		fmt.Fprintln(t.errOut, strings.Join(wrapped(visible(fmt.Sprintf(sentence, args...)), t.width(t.errOut)), "\n"))
	}
}
