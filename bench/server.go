package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server that this run has started, in a temporary directory
// and without persistence, with two clients of it.
type server struct {
	client  *redis.Client // the one that is measured
	control *redis.Client // for INFO, SLOWLOG and the like, counted nowhere
	wire    *wire

	dir     string
	process *exec.Cmd
	exited  chan struct{}
	once    sync.Once
}

// slowlogThreshold keeps SLOWLOG from costing the short calls anything: what
// takes less is not the longest call that anybody worries about.
const slowlogThreshold = 100 * time.Microsecond

// startServer tries anew a few times, as another process may take the port
// between the choice of it and the server's binding.
func startServer(ctx context.Context) (s *server, err error) {
	for range 5 {
		if s, err = startOnce(ctx); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("redis-server: %w", err)
}

func startOnce(ctx context.Context) (*server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	listener.Close()
	dir, err := os.MkdirTemp("", "wildkey-bench-")
	if err != nil {
		return nil, err
	}
	s := &server{wire: new(wire), dir: dir, exited: make(chan struct{})}
	s.process = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no",
		"--slowlog-log-slower-than", strconv.FormatInt(slowlogThreshold.Microseconds(), 10),
		"--slowlog-max-len", "10000")
	if err := s.process.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		_ = s.process.Wait() // how it ends is stop's decision, or awaitUp's to notice
		close(s.exited)
	}()
	s.client = redis.NewClient(&redis.Options{Addr: address, Dialer: s.wire.dial, ReadTimeout: time.Minute})
	s.control = redis.NewClient(&redis.Options{Addr: address, ReadTimeout: time.Minute})
	if err := s.awaitUp(ctx); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) awaitUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		// Another server may have been quicker at the port: ask for our own directory.
		answer, err := s.control.ConfigGet(ctx, "dir").Result()
		if err == nil && answer["dir"] == s.dir {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended before it answered")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) stop() {
	s.once.Do(func() {
		s.client.Close()
		s.control.Close()
		s.process.Process.Kill()
		<-s.exited
		os.RemoveAll(s.dir)
	})
}

// redisVersion is what redis-server says of itself.
func redisVersion() string {
	text, err := exec.Command("redis-server", "--version").Output()
	if found := regexp.MustCompile(`v=(\S+)`).FindSubmatch(text); err == nil && found != nil {
		return string(found[1])
	}
	return "of an unknown version"
}
