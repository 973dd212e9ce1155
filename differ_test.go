package wildkey_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/differ"
	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCorpusOnTheWire gives every case of the corpus to the engine and to each
// server at the same millisecond. TestCorpus has the replies as people read
// them and times to ten seconds; here both sides must send the same bytes, the
// place of an error included, and hold the same to the millisecond.
func TestCorpusOnTheWire(t *testing.T) {
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		pair, err := differ.NewPair(server)
		must(t, err)
		t.Cleanup(pair.Close)
		for _, script := range wildkey.Scripts() {
			_, cases := readCorpus(t, filepath.Join("scripts", "testdata", script.Name+".txt"))
			for _, one := range cases {
				t.Run(script.Name+"/"+one.name, func(t *testing.T) {
					if err := compareCase(t, pair, one); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
}

func compareCase(t *testing.T, pair *differ.Pair, one corpusCase) error {
	t.Helper()
	errs := []error{pair.Reset()}
	for _, script := range wildkey.Scripts() {
		errs = append(errs, pair.Same("SCRIPT", "LOAD", script.Source))
	}
	now := pair.Now().UnixMilli()
	for _, step := range one.steps {
		var args []string
		for _, word := range corpusWords(t, step.command, now) {
			args = append(args, word.(string))
		}
		switch strings.ToUpper(args[0]) {
		case "MAXMEMORY":
			args = []string{"CONFIG", "SET", "maxmemory", args[1]}
		case "EVALSHA", "EVALSHA_RO":
			args[1] = digestOf(args[1])
		}
		errs = append(errs, pair.Same(args...))
	}
	return errors.Join(append(errs, pair.SameKeyspace())...)
}

func digestOf(name string) string {
	for _, script := range wildkey.Scripts() {
		if script.Name == name {
			return script.SHA1
		}
	}
	return name
}
