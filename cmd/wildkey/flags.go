package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
)

// variables are the flags that the environment may give.
var variables = []struct{ flag, variable string }{
	{"cert", "WILDKEY_CERT"},
	{"key", "WILDKEY_KEY"},
	{"cacert", "WILDKEY_CACERT"},
	{"namespace", "WILDKEY_NAMESPACE"},
	{"shards", "WILDKEY_SHARDS"},
	{"shard-segments", "WILDKEY_SHARD_SEGMENTS"},
}

// fromEnvironment sets the flags that the command line does not.
func fromEnvironment(command *cobra.Command, _ []string) error {
	for _, v := range variables {
		value := os.Getenv(v.variable)
		if value == "" || command.Flags().Changed(v.flag) {
			continue
		}
		if err := command.Flags().Set(v.flag, value); err != nil {
			return fmt.Errorf("$%s %s: %w", v.variable, plain(value), cmp.Or(errors.Unwrap(err), err))
		}
	}
	return nil
}

// What a key and a cluster have at the most.
const (
	maxSegments = 2_048
	maxShards   = 16_384
)

// atLeastOne is a flag for a number from 1 on.
type atLeastOne struct {
	n    *int
	most int
}

func (f *atLeastOne) Type() string   { return "int" }
func (f *atLeastOne) String() string { return strconv.Itoa(*f.n) }

func (f *atLeastOne) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > f.most {
		return fmt.Errorf("it must be a whole number from 1 to %s", number(f.most))
	}
	*f.n = n
	return nil
}
