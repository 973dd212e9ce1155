package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
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
	_, err := fmt.Fprintf(t.out, sentence+"\n", args...)
	return err
}

// note tells people, not machines, something beside the output.
func (t *tool) note(sentence string, args ...any) {
	if !t.json {
		fmt.Fprintln(t.errOut, visible(fmt.Sprintf(sentence, args...)))
	}
}

// writeTable writes rows: as JSON, one a line, or as a table with a heading.
// Cells are shown as they are; who fills them makes them visible.
func writeTable[T any](t *tool, rows []T, headings []string, cells func(T) []string) error {
	if t.json {
		for _, row := range rows {
			if err := t.line(row); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(headings, "\t"))
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(cells(row), "\t"))
	}
	return table.Flush()
}
