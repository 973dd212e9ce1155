// Command versions runs the tests on each server that WILDKEY_SERVERS lists and
// writes docs/versions.md: how many of each package passed on which server. Arguments
// name packages by their directories, for a run of these alone; what is known of
// others stays.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/redisserver"
)

const page = "docs/versions.md"

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal("versions: ", err)
	}
}

func run(ctx context.Context, chosen []string) error {
	programs, err := redisserver.Programs()
	if err != nil {
		return err
	}
	directories, err := packages(ctx)
	if err != nil {
		return err
	}
	for _, directory := range chosen {
		if !slices.Contains(directories, directory) {
			return fmt.Errorf("%s is no directory of a package with tests: %q", directory, directories)
		}
	}
	if len(chosen) > 0 {
		directories = chosen
	}
	failed := 0
	for _, program := range programs {
		result, err := load(program)
		if err != nil {
			return err
		}
		for _, directory := range directories {
			tested, err := test(ctx, program, directory)
			if err != nil {
				return err
			}
			log.Printf("%s %s: %s", program, directory, tested)
			failed += len(tested.Failed)
			result.Packages[directory] = tested
			// Each is kept at once: all take hours.
			if err := result.save(); err != nil {
				return err
			}
		}
	}
	results, err := loadAll()
	if err != nil {
		return err
	}
	if err := os.WriteFile(module.Path(filepath.FromSlash(page)), []byte(render(results)), 0o666); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d tests failed", failed)
	}
	return nil
}
