// Package redisserver starts throw-away Redis and Valkey servers for tests and
// benchmarks. No server that it did not start is ever talked to.
package redisserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
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

// Server is one running server.
type Server struct {
	Program Program
	Addr    string

	dir     string
	watches string // the master, if this is a Sentinel
	options []string
	process *exec.Cmd
	output  bytes.Buffer
	exited  chan struct{}
}

// Each runs a test on a server of its own for each of Programs, as a subtest
// named by the server's name and version. The servers are started as Run does
// and closed with their subtests. With no server on the machine the subtest is
// skipped, or fails if RequireEnv is 1; one that ServersEnv lists must be there.
func Each(t *testing.T, test func(t *testing.T, s *Server), args ...string) {
	t.Helper()
	EachProgram(t, func(t *testing.T, program Program) {
		server, err := program.Run(args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		test(t, server)
	})
}

// EachProgram runs a test for each of Programs, as Each does, and starts no server.
func EachProgram(t *testing.T, test func(t *testing.T, p Program)) {
	t.Helper()
	programs, err := Programs()
	if errors.Is(err, errNoneInstalled) && os.Getenv(RequireEnv) != "1" {
		t.Run("redis-server", func(t *testing.T) { t.Skip(err) })
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		program.Test(t, func(t *testing.T) { test(t, program) })
	}
}

// Run starts a server on a free loopback port with an empty temporary
// directory, without persistence unless args ask for it. args are options of
// redis-server: "--maxmemory", "10mb". The caller closes the server.
func (p Program) Run(args ...string) (*Server, error) {
	var err error
	for range startAttempts {
		var s *Server
		if s, err = p.start(args); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func (p Program) start(args []string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wildkey-redis-")
	if err != nil {
		return nil, err
	}
	s := &Server{Program: p, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir}
	s.options = append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1",
		"--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no",
	}, args...)
	if err := s.launch(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// launch starts the process, and waits until it has loaded what is in its
// directory.
func (s *Server) launch() error {
	s.process, s.exited = exec.Command(s.Program.Path, s.options...), make(chan struct{})
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		close(s.exited)
		return err
	}
	go func(process *exec.Cmd, exited chan struct{}) {
		// Wait's error is how the process ended; who ended it knows that it should.
		_ = process.Wait()
		close(exited)
	}(s.process, s.exited)
	if err := s.waitUntilUp(); err != nil {
		s.Kill()
		return fmt.Errorf("%s did not start: %w\n%s", s.Program.Path, err, s.output.String())
	}
	return nil
}

// clusterBusOffset is what a server in cluster mode adds to its port for the
// port of its cluster bus.
const clusterBusOffset = 10_000

// freePort returns a port that is free, and so low that there is one for a
// cluster bus.
func freePort() (int, error) {
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := listener.Addr().(*net.TCPAddr).Port
		// Where this one is too high, keep it while asking for another.
		defer listener.Close()
		if port+clusterBusOffset < 1<<16 {
			return port, nil
		}
	}
}

func (s *Server) waitUntilUp() error {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := s.isUp(ctx, client)
		if err == nil {
			return nil
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

// isUp asks for something of its own: another server may have been quicker at the
// port.
func (s *Server) isUp(ctx context.Context, client *redis.Client) error {
	if s.watches != "" {
		return client.Do(ctx, "SENTINEL", "MASTER", s.watches).Err()
	}
	answer, err := client.ConfigGet(ctx, "dir").Result()
	if err == nil && answer["dir"] != s.dir {
		err = fmt.Errorf("port taken by another server")
	} else if err == nil {
		// While it loads, it answers most commands with LOADING.
		err = client.Ping(ctx).Err()
	}
	return err
}

// Client returns a client of the server's database 0, closed when the test ends.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	tb.Cleanup(func() { client.Close() })
	return client
}

// Kill ends the process with SIGKILL, as a crash would, and waits until it is
// gone. Its directory stays, for Restart.
func (s *Server) Kill() {
	if s.process.Process != nil {
		s.process.Process.Kill()
	}
	<-s.exited
}

// Restart starts the process again after Kill, on the same port, with what it
// left in its directory; args come after those that it had.
func (s *Server) Restart(args ...string) error {
	s.options = append(s.options, args...)
	return s.launch()
}

// Pause stops the process where it stands, with SIGSTOP: it answers nothing,
// and its connections stay open. Resume has it go on.
func (s *Server) Pause() error { return s.process.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.process.Process.Signal(syscall.SIGCONT) }

// Close ends the process and removes its directory.
func (s *Server) Close() {
	s.Kill()
	os.RemoveAll(s.dir)
}
