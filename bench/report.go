package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// write writes results.md, results.json and the charts.
func (b *bench) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# Benchmark results\n\nWritten by `go run .` in `bench/`: %s.\n%s\n\n", b.settings, b.machine())
	text.WriteString("Every line is measured round by round, one contender after the other, with one client and one connection where its\n" +
		"note says nothing else. A cell is the median of the rounds, the least and the most in brackets, and, after ×, the\n" +
		"median against Wildkey's. Records have values of 128 bytes, keys of 45 bytes encoded and a TTL of a day. Server CPU is\n" +
		"user and system time of the whole process, by INFO; bytes and round trips are counted at the client's connection.\n\n")
	if b.before != "" {
		text.WriteString("“Before” stands for the scripts of -before, called by the same Go code.\n\n")
	}
	if figures := b.figures(); figures != "" {
		text.WriteString("## Figures to reach\n\n" + figures + "\n")
	}
	for _, chart := range charts {
		drawn, err := b.draw(chart, filepath.Join(dir, chart.file))
		if err != nil {
			return fmt.Errorf("%s: %w", chart.file, err)
		}
		if drawn {
			fmt.Fprintf(&text, "![%s](%s)\n\n", chart.title, chart.file)
		}
	}
	for _, result := range b.results {
		fmt.Fprintf(&text, "## %s\n\n", result.Title)
		if result.Note != "" {
			fmt.Fprintf(&text, "%s\n\n", result.Note)
		}
		fmt.Fprintf(&text, "%s\n", result.table())
	}
	if err := os.WriteFile(filepath.Join(dir, "results.md"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	return b.writeJSON(filepath.Join(dir, "results.json"))
}

// writeJSON writes one result a line, so that a diff shows what has changed.
func (b *bench) writeJSON(path string) error {
	var text bytes.Buffer
	for i, result := range b.results {
		encoded, err := json.Marshal(result)
		if err != nil {
			return err
		}
		text.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		text.Write(encoded)
	}
	text.WriteString("\n]\n")
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// table is the result in Markdown, a row for each contender.
func (r Result) table() string {
	var text strings.Builder
	metrics := r.metrics()
	fails := slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Failed != "" })
	names := []string{""}
	for _, metric := range metrics {
		names = append(names, metric.name)
	}
	if fails {
		names = append(names, "failed")
	}
	text.WriteString(header(names...))
	for i, row := range r.Rows {
		text.WriteString("| " + row.Name + " |")
		for _, metric := range metrics {
			s := row.summary(metric)
			cell := number(s.median)
			if s.min < s.max {
				cell += fmt.Sprintf(" (%s–%s)", number(s.min), number(s.max))
			}
			if base := r.Rows[0].summary(metric).median; i > 0 && base > 0 && !r.Apart {
				cell += " ×" + number(s.median/base)
			}
			text.WriteString(" " + cell + " |")
		}
		if fails {
			text.WriteString(" " + cmp.Or(row.Failed, "no") + " |")
		}
		text.WriteString("\n")
	}
	return text.String()
}

// number has three significant digits, or all that stand before the point.
func number(x float64) string {
	switch {
	case math.IsNaN(x):
		return "–"
	case x == 0:
		return "0"
	case x >= 100:
		return thousands(int(x + 0.5))
	case x >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case x >= 1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'f', 3, 64)
}

func thousands(n int) string {
	if n < 1_000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1_000), n%1_000)
}
