package main

import (
	"strings"

	"github.com/rivo/uniseg"
)

// gap is between two columns.
const gap = 2

// writeTable writes rows: as JSON, one a line, or as a table with a heading.
// Cells are shown as they are; who fills them makes them visible.
func writeTable[T any](t *tool, rows []T, headings []string, cells func(T) []string) error {
	lines := [][]string{headings}
	for _, row := range rows {
		if t.json {
			if err := t.line(row); err != nil {
				return err
			}
			continue
		}
		lines = append(lines, cells(row))
	}
	if t.json {
		return nil
	}
	for _, band := range bands(lines, t.width(t.stdout)) {
		for j, line := range lines {
			for _, text := range band.lines(line) {
				if j == 0 {
					text = t.styled(t.stdout, bold, text)
				}
				t.out.WriteString(text + "\n")
			}
		}
	}
	return nil // what is wrong with t.out its Flush tells
}

// band is some columns of a table, by their numbers, which stand side by side.
type band struct{ columns, widths []int }

// bands lays out a table. One that is too wide has some of its cells wrapped between words,
// and where this is not enough its columns in several bands, each of which begins with the first.
func bands(lines [][]string, width int) []band {
	var most, least []int // what each column needs: for whole cells, and for whole words
	for column := range lines[0] {
		most, least = append(most, 0), append(least, 0)
		for _, line := range lines {
			most[column] = max(most[column], uniseg.StringWidth(line[column]))
			for _, word := range strings.Split(line[column], " ") {
				least[column] = max(least[column], uniseg.StringWidth(word))
			}
		}
	}
	var all []band
	var spare int
	widen := func(last band) {
		for i, column := range last.columns {
			more := max(0, min(spare, most[column]-last.widths[i]))
			last.widths[i], spare = last.widths[i]+more, spare-more
		}
	}
	for column := range lines[0] {
		if column == 0 || spare < gap+least[column] && len(all[len(all)-1].columns) > 1 {
			if column > 0 {
				widen(all[len(all)-1])
			}
			all = append(all, band{[]int{0}, []int{least[0]}})
			spare = width - least[0]
		}
		if column > 0 {
			last := &all[len(all)-1]
			last.columns, last.widths = append(last.columns, column), append(last.widths, least[column])
			spare -= gap + least[column]
		}
	}
	widen(all[len(all)-1])
	return all
}

// lines returns the lines of a row of the table, of which the cells that are wrapped have several.
func (b band) lines(row []string) []string {
	var cells [][]string
	height := 0
	for i, column := range b.columns {
		cells = append(cells, wrapped(row[column], b.widths[i]))
		height = max(height, len(cells[i]))
	}
	var lines []string
	for n := range height {
		var line strings.Builder
		for i, cell := range cells {
			text := ""
			if n < len(cell) {
				text = cell[n]
			}
			line.WriteString(text)
			if i < len(cells)-1 {
				line.WriteString(strings.Repeat(" ", b.widths[i]-uniseg.StringWidth(text)+gap))
			}
		}
		lines = append(lines, strings.ReplaceAll(line.String(), tied, " "))
	}
	return lines
}
