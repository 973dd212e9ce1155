package main

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
)

// TestTableFits lays a table out for each width: no line is wider, unless a word is, each
// word is there and whole, and a table that fits is one with a line for each row.
func TestTableFits(t *testing.T) {
	rows := [][]string{
		{"SCRIPT", "SHA1", "LOADED ON", "RECORD MEMORY"},
		{"delete.lua", "89afb1", "10.0.0.1:6379 10.0.0.2:6379 10.0.0.3:6379", "~58.0" + tied + "MiB"},
		{"日本語", "-", "-", "7" + tied + "B"},
	}
	const whole = 10 + 2 + 6 + 2 + 41 + 2 + 13
	for width := range 100 {
		all := bands(rows, width)
		if (len(all) == 1 && len(all[0].lines(rows[0])) == 1 && len(all[0].lines(rows[1])) == 1) != (width >= whole) {
			t.Errorf("%d columns: %d bands", width, len(all))
		}
		var words []string
		for _, band := range all {
			for _, row := range rows {
				for _, line := range band.lines(row) {
					if got := uniseg.StringWidth(line); got > max(width, 10+2+13) {
						t.Errorf("%d columns do not hold %q", width, line)
					}
					words = append(words, strings.Fields(line)...)
				}
			}
		}
		for _, row := range rows {
			for _, cell := range row {
				for _, word := range strings.Fields(strings.ReplaceAll(cell, tied, " ")) {
					if !slices.Contains(words, word) {
						t.Errorf("%d columns lack %q", width, word)
					}
				}
			}
		}
	}
	if got := bands(rows, math.MaxInt)[0].lines(rows[2]); !slices.Equal(got, []string{
		"日本語      -       -                                          7 B",
	}) {
		t.Errorf("%q", got)
	}
}

func TestHanging(t *testing.T) {
	for _, test := range []struct {
		width int
		want  string
	}{
		{math.MaxInt, "note     -> one two three four five six seven eight nine\n"},
		{50, "note     -> one two three four five six seven\n            eight nine\n"},
		{24, "note\n  -> one two three four\n     five six seven\n     eight nine\n"},
		{1, "note\n  -> one\n     two\n     three\n     four\n     five\n     six\n     seven\n     eight\n     nine\n"},
	} {
		got := hanging("note     ", 9, "-> ", "one two three four five six seven eight nine", test.width)
		if got != test.want {
			t.Errorf("%d columns: %q, want %q", test.width, got, test.want)
		}
	}
}
