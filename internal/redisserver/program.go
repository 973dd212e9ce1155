package redisserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// ServersEnv names the variable that lists the servers to test on: programs,
// separated by commas or colons. Default: the redis-server on the PATH.
const ServersEnv = "WILDKEY_SERVERS"

// Program is a server that can be run.
type Program struct {
	Path    string
	Name    string // what it calls itself: redis or valkey
	Version string // what it says its version is: 7.0.15
}

// String returns the name and the version: redis-7.0.15.
func (p Program) String() string { return p.Name + "-" + p.Version }

// Minor returns the name and the version without its patch: redis-7.0.
func (p Program) Minor() string {
	numbers := strings.SplitN(p.Version, ".", 3)
	return p.Name + "-" + strings.Join(numbers[:min(2, len(numbers))], ".")
}

// cli is the redis-cli or valkey-cli beside the server: one of another version
// may say other things. Without one it is the redis-cli on the PATH.
func (p Program) cli() (string, error) {
	beside := filepath.Join(filepath.Dir(p.Path), p.Name+"-cli")
	if path, err := exec.LookPath(beside); err == nil {
		return filepath.Abs(path)
	}
	return exec.LookPath("redis-cli")
}

// Test runs a subtest named by the program, whose own cli is the redis-cli on
// the PATH meanwhile.
func (p Program) Test(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run(p.String(), func(t *testing.T) {
		// A machine without any may still run what needs none.
		if cli, err := p.cli(); err == nil {
			bin := t.TempDir()
			if err := os.Symlink(cli, filepath.Join(bin, "redis-cli")); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		}
		test(t)
	})
}

// Before reports whether p is a Redis of an earlier version. Valkey, which
// began as Redis 7.2, is before none.
func (p Program) Before(major, minor int) bool {
	numbers := strings.Split(p.Version+".0", ".")
	itsMajor, errMajor := strconv.Atoi(numbers[0])
	itsMinor, errMinor := strconv.Atoi(numbers[1])
	known := p.Name == "redis" && errMajor == nil && errMinor == nil
	return known && (itsMajor < major || itsMajor == major && itsMinor < minor)
}

var errNoneInstalled = errors.New("no redis-server on the PATH, and " + ServersEnv + " lists none")

// Programs returns the servers that ServersEnv lists or, without it, the
// redis-server on the PATH. Each is started once, to ask what it is.
var Programs = sync.OnceValues(func() (programs []Program, err error) {
	isSeparator := func(r rune) bool { return r == ',' || r == ':' }
	paths := strings.FieldsFunc(os.Getenv(ServersEnv), isSeparator)
	if len(paths) == 0 {
		path, err := exec.LookPath("redis-server")
		if err != nil {
			return nil, errNoneInstalled
		}
		paths = []string{path}
	}
	for _, path := range paths {
		program, err := identify(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		programs = append(programs, program)
	}
	return programs, nil
})

var versionLine = regexp.MustCompile(`(?m)^(redis|valkey)_version:([^\r\n]+)`)

func identify(path string) (Program, error) {
	p := Program{Path: path}
	s, err := p.Run()
	if err != nil {
		return p, err
	}
	defer s.Close()
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	info, err := client.Info(context.Background(), "server").Result()
	if err != nil {
		return p, err
	}
	// Valkey gives its own version after the one of Redis that it is compatible with.
	for _, line := range versionLine.FindAllStringSubmatch(info, -1) {
		p.Name, p.Version = line[1], line[2]
	}
	if p.Name == "" {
		return p, errors.New("INFO server has no version")
	}
	return p, nil
}
