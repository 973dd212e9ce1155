package main

import (
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// server is a server that this run has started, in a temporary directory and
// without persistence, with two clients of it.
type server struct {
	client  *redis.Client // the one that is measured
	control *redis.Client // for INFO, SLOWLOG and the like, counted nowhere
	wire    *wire

	running *redisserver.Server
	once    sync.Once
}

// slowlogThreshold keeps SLOWLOG from costing the short calls anything: what
// takes less is not the longest call that anybody worries about.
const slowlogThreshold = 100 * time.Microsecond

// startServer starts a server with these options of redis-server beside its own.
func startServer(program redisserver.Program, options ...string) (*server, error) {
	running, err := program.Run(append([]string{
		"--slowlog-log-slower-than", strconv.FormatInt(slowlogThreshold.Microseconds(), 10), "--slowlog-max-len", "10000",
	}, options...)...)
	if err != nil {
		return nil, err
	}
	return attach(running), nil
}

// attach makes the clients of a server that runs.
func attach(running *redisserver.Server) *server {
	s := &server{wire: new(wire), running: running}
	s.client = s.anotherClient()
	s.control = redis.NewClient(&redis.Options{Addr: running.Addr, ReadTimeout: time.Minute})
	return s
}

// anotherClient returns one that is measured as the first is. Who has it closes it.
func (s *server) anotherClient() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.running.Addr, Dialer: s.wire.dial, ReadTimeout: time.Minute})
}

func (s *server) stop() {
	s.once.Do(func() {
		s.client.Close()
		s.control.Close()
		s.running.Close()
	})
}
