package luatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

func TestClient(t *testing.T) {
	e := New()
	defer e.Close()
	client := e.Client()
	defer client.Close()
	ctx := context.Background()
	if err := client.Set(ctx, "k", "v\r\n\x00", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(ctx, "k").Result(); got != "v\r\n\x00" || err != nil {
		t.Errorf("GET: %q, %v", got, err)
	}
	if _, err := client.Get(ctx, "none").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET of no key: %v", err)
	}
	script := redis.NewScript("return {KEYS[1], ARGV[1], redis.call('PTTL', KEYS[1])}")
	got, err := script.Run(ctx, client, []string{"k"}, 7).Result()
	if diff := cmp.Diff([]any{"k", "7", int64(60000)}, got); diff != "" || err != nil {
		t.Errorf("script: %v (-want +got)\n%s", err, diff)
	}
	if err := client.EvalSha(ctx, "0000000000000000000000000000000000000000", nil).Err(); !redis.HasErrorPrefix(err, "NOSCRIPT") {
		t.Errorf("EVALSHA: %v", err)
	}
}

func TestClientAsksNoDNS(t *testing.T) {
	resolver := net.DefaultResolver
	defer func() { net.DefaultResolver = resolver }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, address string) (net.Conn, error) {
		t.Errorf("a DNS server is asked: %s %s", network, address)
		return nil, errors.New("no DNS")
	}}
	e := New()
	defer e.Close()
	client := e.Client()
	defer client.Close()
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
}

// A client writes all of a pipeline before it reads a reply.
func TestClientPipeline(t *testing.T) {
	e := New()
	defer e.Close()
	client := e.Client()
	defer client.Close()
	ctx := context.Background()
	value := strings.Repeat("x", 1000)
	results, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 5000 {
			p.Set(ctx, fmt.Sprint(i), value, 0)
			p.Get(ctx, fmt.Sprint(i))
		}
		return nil
	})
	if err != nil || len(results) != 10000 {
		t.Fatalf("%d results: %v", len(results), err)
	}
	for i, result := range results {
		if get, ok := result.(*redis.StringCmd); ok && get.Val() != value {
			t.Fatalf("reply %d is %d bytes long", i, len(get.Val()))
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	e := New()
	defer e.Close()
	client := e.Client()
	defer client.Close()
	ctx := context.Background()
	script := redis.NewScript("return redis.call('INCR', KEYS[1])")
	var group sync.WaitGroup
	for range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for range 100 {
				if err := script.Run(ctx, client, []string{"n"}).Err(); err != nil {
					t.Error(err)
				}
				e.Do("INCR", "n")
				e.Clone().Do("INCR", "n")
				e.Advance(time.Millisecond)
				e.Dump()
			}
		}()
	}
	group.Wait()
	expect(t, e, "1600", "GET", "n")
}

// waitForNoGoroutines fails the test if goroutines that serve connections
// remain. One that has done its work may take a moment to be gone.
func waitForNoGoroutines(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for range 1000 {
		if !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "luatest.(*Engine).connect") {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("goroutines remain:\n%s", buf[:runtime.Stack(buf, true)])
}

func TestNoGoroutineIsLeft(t *testing.T) {
	ctx := context.Background()
	t.Run("after the client is closed", func(t *testing.T) {
		e := New()
		client := e.Client()
		client.Ping(ctx)
		client.Close()
		waitForNoGoroutines(t)
		e.Close()
	})
	t.Run("after the engine is closed", func(t *testing.T) {
		e := New()
		client := e.Client()
		defer client.Close()
		client.Ping(ctx)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		waitForNoGoroutines(t)
		if err := client.Ping(ctx).Err(); err == nil {
			t.Error("a client of a closed engine still works")
		}
		expect(t, e, Status("PONG"), "PING")
	})
	t.Run("with replies that no one reads", func(t *testing.T) {
		e := New()
		conn, err := e.connect()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n")
		e.Close()
		waitForNoGoroutines(t)
	})
	t.Run("after a protocol error", func(t *testing.T) {
		e := New()
		conn, err := e.connect()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "PING\r\n")
		waitForNoGoroutines(t)
		e.Close()
	})
}
