package main

import (
	"context"
	"io"
)

// input returns what the tool reads, and ends with the context: a read of a
// terminal or a pipe cannot be broken off, but need not be waited for.
func (t *tool) input(ctx context.Context) io.Reader { return interruptible(ctx, t.in) }

func interruptible(ctx context.Context, in io.Reader) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { writer.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(writer, in)
		writer.CloseWithError(err)
	}()
	return reader
}
