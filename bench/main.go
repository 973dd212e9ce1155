// Command bench measures Wildkey beside what people would use instead: the
// reference design, SCAN, go-redis/cache, eko/gocache and plain commands. It
// starts redis-servers of its own, talks to no other, and writes tables and
// charts to a directory.
//
//	go run . -out results              # the full run, some ten minutes
//	go run . -scale quick -out quick   # a smoke test, under a minute
//	go run . -run 'put|get'            # some of the benchmarks
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// group is a set of lines that share their data.
type group struct {
	name string
	run  func(context.Context, *bench) error
}

// The order matters for one thing: calls goes on with the namespace that size
// has grown, so that it is loaded once.
var groups = []group{
	{"size", runSize},
	{"calls", runCalls},
	{"allmatch", runAllMatch},
	{"put", runPut},
	{"depth", runDepth},
	{"get", runGet},
	{"memory", runMemory},
	{"delete", runDelete},
}

// bench is one run: its settings, its servers and what it has measured.
type bench struct {
	program  redisserver.Program // the server that is measured
	scale    scale
	rounds   int
	servers  []*server
	growing  *growing
	results  []Result
	started  time.Time
	settings string
}

func main() {
	log.SetFlags(log.Ltime)
	scaleName := flag.String("scale", "full", "how much data: quick or full")
	rounds := flag.Int("rounds", 5, "measured rounds of every line; full takes no fewer than 5")
	only := flag.String("run", "", "regular expression: which groups to run: "+groupNames())
	out := flag.String("out", "results", "directory for tables and charts")
	flag.Parse()

	// Ctrl-C ends the run, and the servers with it.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, *scaleName, *rounds, *only, *out); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(ctx context.Context, scaleName string, rounds int, only, out string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	scale, known := scales[scaleName]
	if !known {
		return fmt.Errorf("-scale is %q, not quick or full", scaleName)
	}
	if scaleName == "full" {
		rounds = max(rounds, 5)
	}
	programs, err := redisserver.Programs()
	if err != nil {
		return err
	}
	b := &bench{program: programs[0], scale: scale, rounds: max(rounds, 1), started: time.Now()}
	defer b.stopServers()
	for _, group := range groups {
		if !chosen.MatchString(group.name) {
			continue
		}
		log.Printf("== %s", group.name)
		if err := group.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", group.name, err)
		}
	}
	if len(b.results) == 0 {
		return errors.New("-run chooses no group: " + groupNames())
	}
	b.settings = fmt.Sprintf("scale %s, %d rounds, %s in all", scaleName, b.rounds, time.Since(b.started).Round(time.Second))
	return b.write(out)
}

func groupNames() string {
	names := ""
	for _, group := range groups {
		names += " " + group.name
	}
	return names[1:]
}

// server starts a redis-server that lasts until the run, or stop, ends it.
func (b *bench) server() (*server, error) {
	s, err := startServer(b.program)
	if err == nil {
		b.servers = append(b.servers, s)
	}
	return s, err
}

// serversOf starts n of them.
func (b *bench) serversOf(n int) ([]*server, error) {
	var servers []*server
	for range n {
		s, err := b.server()
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// stop stops servers whose data is no longer needed.
func (b *bench) stop(servers ...*server) {
	for _, s := range servers {
		s.stop()
		b.servers = slices.DeleteFunc(b.servers, func(other *server) bool { return other == s })
	}
}

func (b *bench) stopServers() {
	b.stop(slices.Clone(b.servers)...)
}
