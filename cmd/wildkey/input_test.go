package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadLines(t *testing.T) {
	const longest = 100_000 // more than a reader holds at a time
	failed := errors.New("failed")
	most := strings.Repeat("m", longest-1) + "\n"
	for name, test := range map[string]struct {
		in    io.Reader
		lines []string
		err   error
	}{
		"nothing":               {strings.NewReader(""), nil, io.EOF},
		"lines":                 {strings.NewReader("a\n\nb\r\n"), []string{"a\n", "\n", "b\r\n"}, io.EOF},
		"the last, without \\n": {strings.NewReader("a\nb"), []string{"a\n", "b"}, io.EOF},
		"as long as may be":     {strings.NewReader(most + most + "a"), []string{most, most, "a"}, io.EOF},
		"longer":                {strings.NewReader("a\nm" + most), []string{"a\n"}, bufio.ErrTooLong},
		"fails between lines":   {io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(failed)), []string{"a\n"}, failed},
		"fails in a line":       {io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(failed)), []string{"a\n"}, failed},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			lines := readLines(context.Background(), test.in, longest)
			for {
				line := <-lines
				if len(line.text) > 0 {
					got = append(got, string(line.text))
				}
				if line.err != nil {
					if line.err != test.err {
						t.Errorf("ended with %v, want %v", line.err, test.err)
					}
					break
				}
			}
			if diff := cmp.Diff(test.lines, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestReadLongLine reads a line that comes byte by byte: who looked through all
// that has come after each of them would take many minutes, and this a second.
func TestReadLongLine(t *testing.T) {
	long := bytes.Repeat([]byte("v"), 4<<20)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	select {
	case line := <-readLines(ctx, iotest.OneByteReader(bytes.NewReader(long)), importLine):
		if !bytes.Equal(line.text, long) || line.err != io.EOF {
			t.Errorf("read %d bytes of %d, and %v", len(line.text), len(long), line.err)
		}
	case <-time.After(time.Minute):
		t.Error("a minute is not enough")
	}
}
