package main

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"
)

// TestProgressEnds: once a bar has been taken away nothing may draw it again,
// over the result that stands in its place.
func TestProgressEnds(t *testing.T) {
	for _, total := range []int64{unknown, 10} {
		var messages bytes.Buffer
		tool := newTool(nil, io.Discard, &messages)
		tool.isTerminal = func(any) bool { return true }
		progress := tool.progress("testing", total, inRecords)
		progress.add(1)
		progress.end()
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if strings.Contains(string(stacks), "progressbar") {
			t.Errorf("of %d: a goroutine of the bar goes on\n%s", total, stacks)
		}
		if !strings.Contains(messages.String(), "testing") {
			t.Errorf("of %d: no bar was shown: %q", total, messages.String())
		}
	}
}
