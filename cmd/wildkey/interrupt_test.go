package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestInterrupt presses Ctrl-C while an import waits for more input: what it
// has put stays, whole and indexed, and the exit code says so.
func TestInterrupt(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		command := toolCommand(t, server, "import", "--no-expiry")
		in, err := command.StdinPipe()
		must(t, err)
		var errOut bytes.Buffer
		command.Stderr = &errOut
		must(t, command.Start())
		for i := range importRecords {
			fmt.Fprintf(in, "{\"key\":\"k:%d\",\"value\":\"v\"}\n", i)
		}
		client := server.Client(t)
		waitFor(t, func() bool { return client.ZCard(context.Background(), "{app}/keys").Val() == importRecords })
		must(t, command.Process.Signal(os.Interrupt))
		if code := exitOf(t, command); code != exitInterrupted {
			t.Errorf("exit code %d, want %d", code, exitInterrupted)
		}
		want := fmt.Sprintf("wildkey: interrupted (%d records written before)\n", importRecords)
		if errOut.String() != want {
			t.Errorf("%q does not say %q", errOut.String(), want)
		}
		check := toolCommand(t, server, "check")
		output, err := check.Output()
		if err != nil || string(output) != "250 records, 250 index entries, 0 stale (0.0%): 0 breaches\n" {
			t.Errorf("check after it: %s, %v", output, err)
		}
	})
}

// TestInterruptedReshard presses Ctrl-C when some of the records have moved: each
// is here or there, and the next reshard moves the rest.
func TestInterruptedReshard(t *testing.T) {
	const most = 20_000
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client := context.Background(), server.Client(t)
		options := wildkey.Options{Namespace: "app", TTL: wildkey.NoExpiry}
		before, err := wildkey.New(client, options)
		must(t, err)
		options.Shards = 8
		after, err := wildkey.New(client, options)
		must(t, err)
		_, err = before.PutEach(ctx, func(yield func(wildkey.Record, error) bool) {
			for i := range most {
				if !yield(wildkey.Record{Key: wildkey.K("user", i), Value: fmt.Append(nil, i)}, nil) {
					return
				}
			}
		}, func(_ wildkey.Record, err error) { must(t, err) })
		must(t, err)
		everything := wildkey.MustParsePattern("**")
		count := func(cache *wildkey.Cache) int {
			n, err := cache.Count(ctx, everything)
			must(t, err)
			return n
		}

		command := toolCommand(t, server, "reshard", "--to-shards", "8", "--yes")
		var errOut bytes.Buffer
		command.Stderr = &errOut
		must(t, command.Start())
		waitFor(t, func() bool { return count(after) > 0 })
		must(t, client.Do(ctx, "CLIENT", "PAUSE", "60000", "WRITE").Err()) // so that it cannot have ended
		must(t, command.Process.Signal(os.Interrupt))
		if code := exitOf(t, command); code != exitInterrupted {
			t.Errorf("exit code %d, want %d", code, exitInterrupted)
		}
		must(t, client.Do(ctx, "CLIENT", "UNPAUSE").Err())
		var moved int
		said := strings.ReplaceAll(errOut.String(), ",", "")
		if _, err := fmt.Sscanf(said, "wildkey: interrupted (%d records moved before)\n", &moved); err != nil {
			t.Errorf("it said %q", errOut.String())
		}
		here := count(before)
		if here > most-moved || here == 0 {
			t.Errorf("%d of %d records are still here, when %d were said to have moved", here, most, moved)
		}

		output, err := toolCommand(t, server, "reshard", "--to-shards", "8", "--yes").Output()
		want := fmt.Sprintf("moved %s from {app} to {app#0/8/1}..{app#7/8/1}\n", records(here))
		if err != nil || string(output) != want {
			t.Errorf("the next: %q, %v, want %q", output, err, want)
		}
		if n := count(before); n != 0 {
			t.Errorf("%d records are left", n)
		}
		found, err := after.Collect(ctx, everything)
		must(t, err)
		for _, entry := range found {
			if want := wildkey.K("user", string(entry.Value)); entry.Key.String() != want.String() {
				t.Errorf("%s has the value %q", entry.Key, entry.Value)
			}
		}
		if len(found) != most {
			t.Errorf("%d records have moved, want %d", len(found), most)
		}
		if output, err := toolCommand(t, server, "check", "--shards", "8").Output(); err != nil {
			t.Errorf("check after it: %s, %v", output, err)
		}
	})
}

// TestInterruptedInput presses Ctrl-C where put waits for its value.
func TestInterruptedInput(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		command := toolCommand(t, server, "put", "k", "--no-expiry")
		in, err := command.StdinPipe()
		must(t, err)
		defer in.Close()
		must(t, command.Start())
		client := server.Client(t)
		// The tool has connected, and then reads.
		waitFor(t, func() bool { return strings.Count(client.ClientList(context.Background()).Val(), "\n") == 2 })
		must(t, command.Process.Signal(os.Interrupt))
		if code := exitOf(t, command); code != exitInterrupted {
			t.Errorf("exit code %d, want %d", code, exitInterrupted)
		}
		if n := client.DBSize(context.Background()).Val(); n != 0 {
			t.Errorf("%d keys on the server", n)
		}
	})
}

// TestBrokenPipe closes the pipe after the first line, as head -1 does: the
// tool ends as filters do, without a word.
func TestBrokenPipe(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		cache, err := wildkey.New(server.Client(t), wildkey.Options{Namespace: "app", TTL: wildkey.NoExpiry})
		must(t, err)
		for first := range 40 {
			var records []wildkey.Record
			for i := range 250 {
				key := wildkey.K("some", "rather", "long", "key", first, i)
				records = append(records, wildkey.Record{Key: key, Value: []byte("v")})
			}
			must(t, cache.Put(context.Background(), records...))
		}
		for _, args := range [][]string{{"ls", "**"}, {"ls", "**", "--keys"}, {"ls", "**", "--json"}, {"export"}} {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				command := toolCommand(t, server, args...)
				out, err := command.StdoutPipe()
				must(t, err)
				var errOut bytes.Buffer
				command.Stderr = &errOut
				must(t, command.Start())
				_, err = io.ReadFull(out, make([]byte, 10))
				must(t, err)
				must(t, out.Close())
				err = command.Wait()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
					t.Errorf("ended with %v, want SIGPIPE", err)
				}
				if errOut.Len() > 0 {
					t.Errorf("it said %q", errOut.String())
				}
			})
		}
	})
}

func exitOf(t *testing.T, command *exec.Cmd) int {
	t.Helper()
	err := command.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode()
}
