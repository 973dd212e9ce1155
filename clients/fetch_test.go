package clients

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
	"github.com/wildkey/wildkey/internal/backend"
)

// fetchPrograms say what they do, load what a line of their input says, and print what
// they got.
var fetchPrograms = map[string]string{
	"python": `
def load():
    print("loading", flush=True)
    return input()

fetcher = Fetcher(Wildkey(client, "test", ttl=timedelta(hours=1)))
print("fetching", flush=True)
value = fetcher.get(("price", "lamp"), load).decode()
print(f"{value}, {fetcher.stats().stored} stored")
`,
	"node": `
import { createInterface } from 'node:readline'
import { Fetcher } from './wildkey.js'
const input = createInterface({ input: process.stdin })
const load = () => new Promise((resolve) => {
  console.log('loading')
  input.once('line', resolve)
})
const fetcher = new Fetcher(new Wildkey(client, { namespace: 'test', ttl: 3_600_000, encoding: 'utf8' }))
console.log('fetching')
const value = await fetcher.get(['price', 'lamp'], load)
console.log(value + ', ' + fetcher.stats().stored + ' stored')
input.close()
client.destroy()
`,
}

// TestFetchesBesideGo has a program in another language and one in Go fetch the same
// record: each waits for the other's load, and voids its lease.
func TestFetchesBesideGo(t *testing.T) {
	for _, client := range otherClients {
		if fetchPrograms[client.name] == "" {
			continue // the shell names leases, and has no fetch
		}
		t.Run(client.name, func(t *testing.T) {
			client.require(t)
			onOneServer(t, func(t *testing.T, b *backend.Backend) { fetchBesideGo(t, client, b) })
		})
	}
}

func fetchBesideGo(t *testing.T, client otherClient, b *backend.Backend) {
	key := wildkey.K("price", "lamp")
	fetcher, err := fetch.New(b.Cache(t, wildkey.Options{TTL: time.Hour}), fetch.Options{})
	backend.Must(t, err)
	loadNothing := func(context.Context) (fetch.Loaded, error) {
		return fetch.Loaded{}, fmt.Errorf("it was loaded in Go")
	}

	// Go loads, and the other waits.
	ask, _, wait := startFetch(t, client, b)
	value, err := fetcher.Get(ctx, key, func(context.Context) (fetch.Loaded, error) {
		ask("fetching")
		time.Sleep(50 * time.Millisecond) // in which the other would begin to load
		return fetch.Loaded{Value: []byte("of Go")}, nil
	})
	if string(value) != "of Go" || err != nil {
		t.Errorf("Go: %q, %v", value, err)
	}
	ask("of Go, 0 stored")
	wait()

	// The other loads, and Go waits.
	backend.Must(t, b.Client.FlushAll(ctx).Err())
	ask, answer, wait := startFetch(t, client, b)
	ask("fetching")
	ask("loading")
	go func() {
		for fetcher.Stats().Waits == 0 {
			time.Sleep(time.Millisecond)
		}
		answer("of the other")
	}()
	value, err = fetcher.Get(ctx, key, loadNothing)
	if string(value) != "of the other" || err != nil {
		t.Errorf("Go, beside the other: %q, %v", value, err)
	}
	ask("of the other, 1 stored")
	wait()

	// The other loads, and Go deletes.
	backend.Must(t, b.Client.FlushAll(ctx).Err())
	ask, answer, wait = startFetch(t, client, b)
	ask("fetching")
	ask("loading")
	_, err = fetcher.Delete(ctx, key)
	backend.Must(t, err)
	answer("old")
	ask("old, 0 stored")
	wait()
	if b.Client.DBSize(ctx).Val() != 0 {
		t.Errorf("it stored what was read before the delete: %q", b.Client.Keys(ctx, "*").Val())
	}
}

// startFetch starts the program. Function ask expects a line of it, and answer
// sends it one.
func startFetch(
	t *testing.T, client otherClient, b *backend.Backend,
) (ask, answer func(line string), wait func()) {
	t.Helper()
	command := client.program(fetchPrograms[client.name])
	command.Env = append(os.Environ(), "REDIS_URL=redis://"+b.Server.Addr, "PYTHONDONTWRITEBYTECODE=1")
	var complaints strings.Builder
	command.Stderr = &complaints
	input, err := command.StdinPipe()
	backend.Must(t, err)
	output, err := command.StdoutPipe()
	backend.Must(t, err)
	backend.Must(t, command.Start())
	lines := bufio.NewScanner(output)
	ask = func(want string) {
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("it says %q, %v, want %q", lines.Text(), lines.Err(), want)
		}
	}
	answer = func(line string) {
		if _, err := io.WriteString(input, line+"\n"); err != nil {
			t.Errorf("it does not listen: %v", err)
		}
	}
	wait = func() {
		t.Helper()
		input.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("%v\n%s", err, complaints.String())
		}
	}
	return ask, answer, wait
}
