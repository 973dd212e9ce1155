package main

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"
)

// TestProgressLine: whatever the width, the line is less wide, and it says as much as that holds.
func TestProgressLine(t *testing.T) {
	for _, test := range []struct {
		done, total int64
		counting    func(int64) string
		columns     int
		want        string
	}{
		{500, 2_000, inRecords, 140, "testing  25%  500 of 2,000 records  [#####...............]  250 records/s  6s left"},
		{500, 2_000, inRecords, 60, "testing  25%  500 of 2,000 records  [#####...............]"},
		{500, 2_000, inRecords, 20, "testing  25%"},
		{500, 2_000, inRecords, 5, ""},
		{500, unknown, inRecords, 140, "testing  500 records  250 records/s"},
		{500, unknown, inRecords, 20, "testing  500 records"},
		{1, 1, inEntries, 60, "testing  100%  1 of 1 entry  [####################]"},
		{3 << 20, 4 << 20, inBytes, 60, "testing  75%  3.0 of 4.0 MiB  [###############.....]"},
		{2_001, 2_000, inRecords, 140, "testing  2,001 records  1,000 records/s"}, // the total was a guess
	} {
		b := bar{doing: "testing", total: test.total, done: test.done, counting: test.counting}
		if got := b.line(2*time.Second, test.columns); got != test.want {
			t.Errorf("%d of %d in %d columns: %q, want %q", test.done, test.total, test.columns, got, test.want)
		}
		for columns := range 200 {
			if got := b.line(2*time.Second, columns); uniseg.StringWidth(got) > columns {
				t.Errorf("%d columns hold no %q", columns, got)
			}
		}
	}
}

// TestProgressEnds: the cursor is always at the start of the line, from where all that was
// drawn is cleared in the end, and nothing draws it again.
func TestProgressEnds(t *testing.T) {
	var messages bytes.Buffer
	tool := newTool(nil, io.Discard, &messages)
	tool.isTerminal = func(any) bool { return true }
	t.Setenv("TERM", "xterm")
	progress := tool.progress("testing", 10, inRecords)
	progress.drawn = time.Time{}
	progress.add(1)
	progress.end()
	if got := messages.String(); !regexp.MustCompile(`^(\r\x1b\[K[^\r\n]+\r){2}\r\x1b\[K$`).MatchString(got) {
		t.Errorf("it wrote %q", got)
	}
	progress.add(1)
	if got := messages.String(); strings.Count(got, "testing") != 3 || strings.HasSuffix(got, "\x1b[K") {
		t.Errorf("what goes on is not shown again: %q", got)
	}
	progress.width = func() int { return 20 }
	progress.end()
	if got := messages.String(); !strings.HasSuffix(got, "\r\x1b[J") {
		t.Errorf("what a narrower terminal has moved to further lines is not cleared: %q", got)
	}
	t.Setenv("TERM", "dumb")
	if tool.progress("testing", 10, inRecords).bar != nil {
		t.Error("a terminal that can clear nothing has a bar")
	}
}
