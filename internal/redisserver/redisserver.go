// Package redisserver starts throw-away redis-server processes for tests and
// benchmarks. No server that it did not start is ever talked to.
package redisserver

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RequireEnv names the variable that, set to 1, turns a missing redis-server
// from a skip into a failure.
const RequireEnv = "WILDKEY_REQUIRE_REDIS"

// startAttempts covers the moment between choosing a free port and the
// server's binding of it, in which another process may take the port.
const startAttempts = 5

// Server is one running redis-server.
type Server struct {
	Addr string

	dir     string
	process *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
}

// Start runs a redis-server on a free loopback port with an empty temporary
// directory, without persistence unless args ask for it, and stops it when the
// test ends. args are redis-server options: "--maxmemory", "10mb". With no
// redis-server on the PATH the test is skipped, or fails if RequireEnv is 1.
func Start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv(RequireEnv) == "1" {
			tb.Fatalf("%s=1, and there is no redis-server: %v", RequireEnv, err)
		}
		tb.Skip("no redis-server on the PATH")
	}
	var err error
	for range startAttempts {
		var server *Server
		if server, err = start(args); err == nil {
			tb.Cleanup(server.stop)
			return server
		}
	}
	tb.Fatal(err)
	return nil
}

func start(args []string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wildkey-redis-")
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir, exited: make(chan struct{})}
	options := append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	s.process = exec.Command("redis-server", options...)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		// Wait's error is how the process ended; stop has already decided that it should.
		_ = s.process.Wait()
		close(s.exited)
	}()
	if err := s.waitUntilUp(); err != nil {
		s.stop()
		return nil, fmt.Errorf("redis-server did not start: %w\n%s", err, s.output.String())
	}
	return s, nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) waitUntilUp() error {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		// Another server may have been quicker at the port: ask for our own directory.
		answer, err := client.ConfigGet(ctx, "dir").Result()
		if err == nil && answer["dir"] == s.dir {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("port taken by another server")
		}
		select {
		case <-s.exited:
			return err
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Client returns a client of the server's database 0, closed when the test ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	tb.Cleanup(func() { client.Close() })
	return client
}

func (s *Server) stop() {
	s.process.Process.Kill()
	<-s.exited
	os.RemoveAll(s.dir)
}
