package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// modules are the directories of those whose tests run on servers.
var modules = []string{".", "cmd/wildkey", "faults"}

// packages returns the directories of all packages that have tests, as this
// module has them.
func packages(ctx context.Context) ([]string, error) {
	root := module.Path(".")
	var directories []string
	for _, in := range modules {
		list := exec.CommandContext(ctx, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}", "./...")
		list.Dir = filepath.Join(root, in)
		list.Stderr = os.Stderr
		output, err := list.Output()
		if err != nil {
			return nil, err
		}
		for directory := range strings.FieldsSeq(string(output)) {
			relative, err := filepath.Rel(root, directory)
			if err != nil {
				return nil, err
			}
			if relative = filepath.ToSlash(relative); relative != "internal/versions" { // which holds the page to what is known
				directories = append(directories, relative)
			}
		}
	}
	return directories, nil
}

// tested is what came of the tests of one package that ran on one server.
type tested struct {
	Day     string // of the run
	Passed  int
	Failed  []string          `json:",omitempty"`
	Skipped map[string]string `json:",omitempty"` // why each was
}

func (t tested) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.Passed, len(t.Failed), len(t.Skipped))
}

// test runs the tests of a package on a server.
func test(ctx context.Context, program redisserver.Program, directory string) (tested, error) {
	command := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=30m", "-json", ".")
	command.Dir = module.Path(directory)
	command.Env = append(os.Environ(), redisserver.ServersEnv+"="+program.Path, redisserver.RequireEnv+"=1")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.Output()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return tested{}, err
	}
	if ctx.Err() != nil {
		return tested{}, ctx.Err()
	}
	result, said := count(bytes.NewReader(output), program)
	if err != nil && len(result.Failed) == 0 {
		result.Failed = []string{"the package"} // as it does not compile, or was too slow
	}
	if err != nil {
		log.Printf("%s on %s: %v\n%s%s", directory, program, err, said, complaints.String())
	}
	result.Day = time.Now().UTC().Format(time.DateOnly)
	return result, nil
}

// reason is what a test says when it is skipped.
var reason = regexp.MustCompile(`(?m)^ +\w+\.go:\d+: (.*)$`)

// count reads what go test -json says of the tests that are subtests of a
// server's: of these each that has no subtest itself is one test. A failure counts
// of any test, and what was said of it is returned too.
func count(events io.Reader, program redisserver.Program) (result tested, reproach string) {
	result.Skipped = map[string]string{}
	outcome, said := map[string]string{}, map[string]string{}
	decoder := json.NewDecoder(events)
	for {
		var event struct{ Action, Test, Output string }
		if decoder.Decode(&event) != nil { // it ends, or go test broke off
			break
		}
		switch event.Action {
		case "output":
			said[event.Test] += event.Output
		case "pass", "fail", "skip":
			outcome[event.Test] = event.Action
		}
	}
	delete(outcome, "") // the package
	for _, name := range slices.Sorted(maps.Keys(outcome)) {
		isParent := false
		for other, its := range outcome {
			isParent = isParent || strings.HasPrefix(other, name+"/") && (its == "fail" || outcome[name] == "pass")
		}
		onServer := slices.Contains(strings.Split(name, "/"), program.String())
		switch {
		case isParent:
		case outcome[name] == "fail":
			result.Failed = append(result.Failed, name)
			reproach += said[name]
		case onServer && outcome[name] == "pass":
			result.Passed++
		case onServer:
			result.Skipped[name] = ""
			if lines := reason.FindAllStringSubmatch(said[name], -1); lines != nil {
				result.Skipped[name] = lines[len(lines)-1][1]
			}
		}
	}
	return result, reproach
}
