// Package faults does to Redis servers what happens to them in real life, while
// clients use a Wildkey cache there: they are killed, stopped, filled, cut off.
// It has tests alone: each holds afterwards what the clients were told against
// what is on the server, and its row in a table says what was seen.
//
// go test runs the short form; go test -long, as make faults, prints the table.
package faults
