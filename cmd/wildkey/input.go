package main

import (
	"bufio"
	"bytes"
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
// ended the input: nil while there may be more; io.EOF, perhaps with a last line;
// or, without one, what went wrong.
type inputLine struct {
	text []byte
	err  error
}

// readLines sends the lines of an input as they come, so that who waits for one
// can do something else meanwhile. The last has an error.
func readLines(ctx context.Context, in io.Reader, longest int) <-chan inputLine {
	lines := make(chan inputLine)
	go func() {
		buffered := bufio.NewReaderSize(in, 64<<10)
		for {
			text, err := readLine(buffered, longest)
			select {
			case lines <- inputLine{text, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// readLine looks at each byte once: a bufio.Scanner would look through all of a
// long line again with each piece of it that comes.
func readLine(in *bufio.Reader, longest int) ([]byte, error) {
	var pieces [][]byte
	for length := 0; ; {
		piece, err := in.ReadSlice('\n')
		switch length += len(piece); {
		case length > longest:
			return nil, bufio.ErrTooLong
		case err != nil && err != bufio.ErrBufferFull && err != io.EOF:
			return nil, err // the line is not whole
		}
		if pieces = append(pieces, bytes.Clone(piece)); err != bufio.ErrBufferFull {
			return bytes.Join(pieces, nil), err
		}
	}
}
