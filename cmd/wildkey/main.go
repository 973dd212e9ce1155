// Command wildkey is the operators' tool: it lists, reads, writes, deletes,
// moves and checks the records of a Wildkey namespace on a Redis server, and
// loads and verifies the scripts there. See its README.
package main

import (
	"context"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	// The first Ctrl-C lets the call under way end; a second one ends the program.
	context.AfterFunc(ctx, stop)
	os.Exit(newTool(os.Stdin, os.Stdout, os.Stderr).run(ctx, os.Args[1:]))
}
