package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestImportInPauses: what has come is written while the input waits for more,
// as that of tail -f does.
func TestImportInPauses(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client := context.Background(), server.Client(t)
		in, input := io.Pipe()
		defer input.Close()
		var out bytes.Buffer
		tool := newTool(in, &out, &out)
		ended := make(chan int, 1)
		go func() {
			ended <- tool.run(ctx, []string{"--url", "redis://" + server.Addr, "-n", "app", "import", "--no-expiry"})
		}()
		for _, key := range []string{"a", "b"} {
			fmt.Fprintf(input, "{\"key\":%q,\"value\":\"v\"}\n{\"key\":", key)
			waitFor(t, func() bool { return client.Exists(ctx, "{app}:"+key).Val() == 1 })
			fmt.Fprintf(input, "%q,\"value\":\"v\"}\n", key+":whole")
		}
		must(t, input.Close())
		if code := <-ended; code != 0 || out.String() != "imported 4 records\n" {
			t.Errorf("exit code %d: %s", code, out.String())
		}
	})
}

// TestImportExpiry has a record expire while it waits to be put.
func TestImportExpiry(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		ctx, client := context.Background(), server.Client(t)
		run := importer{session: connect(t, server, writing)}
		now := func() int64 { return time.Now().UnixMilli() }
		soon := now() + 100
		must(t, run.add(fmt.Appendf(nil, `{"key":"brief","value":"v","expires_at":%d}`, soon)))
		must(t, run.add(fmt.Appendf(nil, `{"key":"long","value":"v","expires_at":%d}`, soon+3_600_000)))
		waitFor(t, func() bool { return now() > soon })
		must(t, run.put(ctx))
		if run.written != 1 || run.expired != 1 {
			t.Errorf("%d written and %d expired, want 1 of each", run.written, run.expired)
		}
		if keys := client.ZRange(ctx, "{app}/keys", 0, -1).Val(); len(keys) != 1 || keys[0] != "long" {
			t.Errorf("on the server are %q", keys)
		}
	})
}

// TestImportFailedRead: a read that fails in a line is told as what it is, and
// the records before it are written.
func TestImportFailedRead(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		in := io.MultiReader(
			strings.NewReader(`{"key":"a","value":"1","ttl":"never"}`+"\n"+`{"key":"b","va`),
			iotest.ErrReader(errors.New("the disk is broken")))
		var out, messages bytes.Buffer
		tool := newTool(in, &out, &messages)
		code := tool.run(context.Background(), []string{"--url", "redis://" + server.Addr, "-n", "app", "import"})
		want := "wildkey: reading the input: the disk is broken (1 record written before)\n"
		if code != exitFailure || messages.String() != want {
			t.Errorf("exit code %d, %q, want %q", code, messages.String(), want)
		}
	})
}
