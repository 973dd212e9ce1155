package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// results is where there is a file for each server that was ever tested.
var results = filepath.Join("internal", "versions", "results")

// result is what is known of one server.
type result struct {
	Name, Version string
	Packages      map[string]tested // by their directories
}

func (r result) path() string {
	return module.Path(filepath.Join(results, r.Name+"-"+r.Version+".json"))
}

func load(program redisserver.Program) (result, error) {
	r := result{Name: program.Name, Version: program.Version, Packages: map[string]tested{}}
	text, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// loadAll returns what is known of all servers, earlier versions first.
func loadAll() ([]result, error) {
	paths, err := filepath.Glob(module.Path(filepath.Join(results, "*.json")))
	if err != nil {
		return nil, err
	}
	var all []result
	for _, path := range paths {
		name, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".json"), "-")
		r, err := load(redisserver.Program{Name: name, Version: version})
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b result) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), slices.Compare(a.numbers(), b.numbers()))
	})
	return all, nil
}

func (r result) numbers() []int {
	var numbers []int
	for part := range strings.SplitSeq(r.Version, ".") {
		number, _ := strconv.Atoi(part) // a word sorts as 0
		numbers = append(numbers, number)
	}
	return numbers
}

func (r result) save() error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.path()), 0o777); err != nil {
		return err
	}
	return os.WriteFile(r.path(), append(text, '\n'), 0o666)
}
