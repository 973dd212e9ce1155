package redisserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Watched is a master, its replica, and a Sentinel that watches them.
type Watched struct {
	Name     string    // that the Sentinel has for the master
	Nodes    []*Server // the master, until a failover, and the replica
	Sentinel *Server
}

// EachWatched runs a test on a master and a replica of each installed server, under
// a Sentinel.
func EachWatched(t *testing.T, test func(t *testing.T, w *Watched)) {
	EachProgram(t, func(t *testing.T, p Program) {
		w := new(Watched)
		t.Cleanup(w.Close)
		if err := w.start(p); err != nil {
			t.Fatal(err)
		}
		test(t, w)
	})
}

func (w *Watched) start(p Program) error {
	master, err := p.Run()
	if err != nil {
		return err
	}
	w.Nodes = append(w.Nodes, master)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica, err := p.Run("--replicaof", host, port)
	if err != nil {
		return err
	}
	w.Nodes, w.Name = append(w.Nodes, replica), "wildkey-"+port
	if w.Sentinel, err = p.runSentinel(w.Name, host, port); err != nil {
		return err
	}
	return w.eventually("the Sentinel knows of the replica", func(ctx context.Context, sentinel *redis.Client) bool {
		return strings.Contains(sentinel.Info(ctx, "sentinel").Val(), "status=ok,address="+master.Addr+",slaves=1")
	})
}

// runSentinel starts a Sentinel that takes a master for dead after half a second.
func (p Program) runSentinel(name, host, port string) (*Server, error) {
	own, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wildkey-sentinel-")
	if err != nil {
		return nil, err
	}
	s := &Server{Program: p, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(own)), dir: dir, watches: name}
	file := filepath.Join(dir, "sentinel.conf")
	s.options = []string{file, "--sentinel"}
	config := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s %s %s 1\n"+
		"sentinel down-after-milliseconds %[3]s 500\nsentinel failover-timeout %[3]s 5000\n", own, dir, name, host, port)
	if err := errors.Join(os.WriteFile(file, []byte(config), 0o600), s.launch()); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Master returns the address of the master, as the Sentinel has it.
func (w *Watched) Master(tb testing.TB) string {
	tb.Helper()
	address, err := w.Sentinel.Client(tb).Do(context.Background(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", w.Name).StringSlice()
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Join(address, ":")
}

// Failover has the replica take the place of the master, and returns when that is
// its replica.
func (w *Watched) Failover(tb testing.TB) {
	tb.Helper()
	before := w.Master(tb)
	demoted := redis.NewClient(&redis.Options{Addr: before})
	defer demoted.Close()
	err := w.eventually("a failover", func(ctx context.Context, sentinel *redis.Client) bool {
		if w.Master(tb) == before {
			// It is refused while the one before is not over.
			sentinel.Do(ctx, "SENTINEL", "FAILOVER", w.Name)
		}
		return strings.Contains(demoted.Info(ctx, "replication").Val(), "role:slave")
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func (w *Watched) eventually(what string, holds func(context.Context, *redis.Client) bool) error {
	sentinel := redis.NewClient(&redis.Options{Addr: w.Sentinel.Addr})
	defer sentinel.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for !holds(ctx, sentinel) {
		if ctx.Err() != nil {
			return fmt.Errorf("a minute has passed without that %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// Close ends all processes.
func (w *Watched) Close() {
	for _, s := range append(w.Nodes, w.Sentinel) {
		if s != nil {
			s.Close()
		}
	}
}
