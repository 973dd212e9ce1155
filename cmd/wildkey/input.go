package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
)

// input returns what the tool reads, and ends with the context: a read of a
// terminal or a pipe cannot be broken off, but need not be waited for.
func (t *tool) input(ctx context.Context) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(writer, t.in)
		writer.CloseWithError(err)
	}()
	return reader
}

// inputLine is a line as it was read, with its newline if it had one, and what
// ended the input: nil while there may be more, io.EOF at its end.
type inputLine struct {
	text []byte
	err  error
}

// readLines sends the lines of an input as they come, so that who waits for one
// can do something else meanwhile. The last has an error.
func readLines(ctx context.Context, in io.Reader, longest int) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, longest)
		for more := true; more; {
			more = scanner.Scan()
			l := inputLine{text: bytes.Clone(scanner.Bytes())}
			if !more {
				l.err = cmp.Or(scanner.Err(), io.EOF)
			}
			select {
			case lines <- l:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
