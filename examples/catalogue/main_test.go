package main

import (
	"context"
	"log"

	"github.com/wildkey/wildkey/luatest"
)

func Example() {
	if err := run(context.Background(), luatest.Live().Client()); err != nil {
		log.Print(err)
	}
	// Output:
	// 100 callers ask for the atlas. Reads of the database: 1
	// All books become dearer while a caller waits for the novel. It gets the price of before: 1000
	// The next caller gets the new price of the novel: 1100
	// The next caller gets the new price of the atlas: 2200
}
