package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// clock is that of one server: so much ahead of the true time, as a file says.
type clock struct{ file string }

func (c clock) set(t *testing.T, ahead time.Duration) {
	t.Helper()
	// The server must never read half of it.
	must(t, os.WriteFile(c.file+".new", fmt.Appendf(nil, "%+.0f\n", ahead.Seconds()), 0o666))
	must(t, os.Rename(c.file+".new", c.file))
}

// withClock returns the program, to be run by this clock; Debian has the library
// in libfaketime.
func withClock(t *testing.T, program redisserver.Program, c clock) redisserver.Program {
	t.Helper()
	library, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	must(t, err)
	if len(library) == 0 {
		if os.Getenv(redisserver.RequireEnv) == "1" {
			t.Fatal("no libfaketime")
		}
		t.Skip("no libfaketime to set the clock of a server with")
	}
	wrapper := filepath.Join(t.TempDir(), "server")
	// jemalloc, which Redis is linked with, asks for the time before the library
	// can tell it; libc.so.6 before it has malloc be that of the C library.
	must(t, os.WriteFile(wrapper, fmt.Appendf(nil, `#!/bin/sh
export LD_PRELOAD="%s libc.so.6" FAKETIME_TIMESTAMP_FILE=%s FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
exec %s "$@"
`, library[0], c.file, program.Path), 0o777))
	program.Path = wrapper
	return program
}

// TestClockSet sets the clock of the server while clients write. What lives for
// longer than the clock goes ahead is still there, and what had expired and then,
// as the clock went back, has not, is found by Match too if Get finds it.
func TestClockSet(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redisserver.Server) {
		clock := clock{filepath.Join(t.TempDir(), "clock")}
		clock.set(t, 0)
		program := withClock(t, server.Program, clock)
		var options []string
		if !program.Before(7, 0) {
			options = []string{"--enable-debug-command", "yes"}
		}
		server, err := program.Run(options...)
		must(t, err)
		t.Cleanup(server.Close)
		client := server.Client(t)
		// A server that has much to do is late to delete what has expired; this one waits to be asked for it.
		must(t, client.Do(ctx, "DEBUG", "SET-ACTIVE-EXPIRE", "0").Err())
		for _, way := range []struct {
			fault       string
			first, then time.Duration
			expire      bool // the records that have a TTL do
		}{
			{"clock set back by an hour", time.Hour, 0, false},
			{"clock set ahead by half an hour", 0, 30 * time.Minute, false},
			{"clock set ahead by ten hours", 0, 10 * time.Hour, true},
			{"clock set back by ten hours", 10 * time.Hour, 0, true},
		} {
			table := newRow(t, way.fault)
			for range rounds(1, 10) {
				must(t, client.FlushAll(ctx).Err())
				l := newLoad(t, client, loadOptions{evicts: way.expire})
				if !way.expire {
					clock.set(t, way.first)
					l.run(ctx, 50)
					l.during(func() {
						if !l.waitForWrites(100) {
							t.Error("no load")
						}
						clock.set(t, way.then)
						if !l.waitForWrites(100) {
							t.Error("no load")
						}
					})
				} else {
					clock.set(t, 0)
					l.run(ctx, 50)
					clock.set(t, way.first)
					l.run(ctx, 3) // too few calls to meet every record
					clock.set(t, way.then)
				}
				waitForClock(t, client, way.then)
				table.add(l, l.judgeWhole(t, client))
				l.mustDelete(t, client)
			}
		}
	})
}

func waitForClock(t *testing.T, client *redis.Client, ahead time.Duration) {
	t.Helper()
	waitFor(t, func() bool {
		now, err := client.Time(ctx).Result()
		must(t, err)
		return now.Sub(time.Now().Add(ahead)).Abs() < 10*time.Second
	})
}
