// Command bench measures Wildkey beside what people would use instead: the
// reference design, SCAN, go-redis/cache, eko/gocache and plain commands. It
// starts redis-servers of its own, talks to no other, and writes tables and
// charts to a directory.
//
//	go run . -out results              # the full run, some 25 minutes
//	go run . -scale quick -out quick   # a smoke test, some 3 minutes
//	go run . -run 'put|get'            # some of the benchmarks
//	go run . -before ../../old/scripts # and beside all this the scripts of another version
//	go run . -mode load                # many clients at once, on one server and on a cluster
//	go run . -mode model               # the model of docs/scale.md, fitted and held to a size not used for it
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

// group is a set of lines that share their data, on servers of its own, which
// end with it.
type group struct {
	name string
	run  func(context.Context, *bench) error
}

var groups = []group{
	{"size", runSize},
	{"dense", runDense},
	{"put", runPut},
	{"depth", runDepth},
	{"get", runGet},
	{"memory", runMemory},
	{"delete", runDelete},
	{"lock", runLock},
	{"fetch", runFetch},
	{"night", runNight},
	{"full", runFull},
}

// bench is one run: its settings, its servers and what it has measured.
type bench struct {
	program   redisserver.Program // the server that is measured
	scaleName string
	scale     scale
	rounds    int
	before    string // directory of the scripts to measure beside these, if any
	servers   []*server
	results   []Result
	started   time.Time
	settings  string
}

// choice is what the command line asks for.
type choice struct {
	mode, scale string
	rounds      int
	only, out   string
	before      string // directory of other scripts
	page        string // whose tables the model writes
}

func main() {
	log.SetFlags(log.Ltime)
	var c choice
	flag.StringVar(&c.mode, "mode", "compare", "what to measure: compare, load or model")
	flag.StringVar(&c.scale, "scale", "full", "how much data: quick, middle or full")
	flag.IntVar(&c.rounds, "rounds", 5, "measured rounds of every line; full takes no fewer than 5")
	flag.StringVar(&c.only, "run", "", "regular expression: which groups to compare: "+groupNames())
	flag.StringVar(&c.out, "out", "results", "directory for tables and charts")
	flag.StringVar(&c.before, "before", "", "directory of other scripts, with the same KEYS, ARGV and replies, to compare with")
	flag.StringVar(&c.page, "page", "", "file whose marked tables -mode model writes anew; none: it prints them")
	flag.Parse()

	// Ctrl-C ends the run, and the servers with it.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, c); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(ctx context.Context, c choice) error {
	scale, known := scales[c.scale]
	if !known {
		return fmt.Errorf("-scale is %q, not quick, middle or full", c.scale)
	}
	if c.scale == "full" {
		c.rounds = max(c.rounds, 5)
	}
	programs, err := redisserver.Programs()
	if err != nil {
		return err
	}
	b := &bench{
		program: programs[0], scaleName: c.scale, scale: scale, rounds: max(c.rounds, 1), before: c.before,
		started: time.Now(),
	}
	defer b.stopServers()
	switch c.mode {
	case "compare":
		return b.runGroups(ctx, c.only, c.out)
	case "load":
		return b.runLoad(ctx, c.out)
	case "model":
		return b.runModel(ctx, c.out, c.page)
	}
	return fmt.Errorf("-mode is %q, not compare, load or model", c.mode)
}

// runGroups measures what others are compared with, and writes results.md.
func (b *bench) runGroups(ctx context.Context, only, out string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	for _, group := range groups {
		if !chosen.MatchString(group.name) {
			continue
		}
		log.Printf("== %s", group.name)
		if err := group.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", group.name, err)
		}
		b.stopServers()
	}
	if len(b.results) == 0 {
		return errors.New("-run chooses no group: " + groupNames())
	}
	b.settings = fmt.Sprintf("scale %s, %d rounds, %s in all", b.scaleName, b.rounds, time.Since(b.started).Round(time.Second))
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
func (b *bench) server(options ...string) (*server, error) {
	s, err := startServer(b.program, options...)
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
