package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"github.com/spf13/cobra"
)

// TestHelpFits: no help is wider than a terminal usually is.
func TestHelpFits(t *testing.T) {
	var fits func(command *cobra.Command)
	fits = func(command *cobra.Command) {
		var output bytes.Buffer
		args := append(strings.Fields(command.CommandPath())[1:], "--help")
		if code := newTool(nil, &output, io.Discard).run(context.Background(), args); code != 0 || output.Len() == 0 {
			t.Errorf("%s: exit code %d", args, code)
		}
		for line := range strings.Lines(output.String()) {
			if uniseg.StringWidth(strings.TrimSuffix(line, "\n")) > 80 {
				t.Errorf("%s: %q", args, line)
			}
		}
		for _, sub := range command.Commands() {
			if sub.Name() != "completion" { // its words are cobra's
				fits(sub)
			}
		}
	}
	fits(newTool(nil, io.Discard, io.Discard).command())
}
