package scripts

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/corpus"
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
		backend.Must(t, err)
		t.Cleanup(pair.Close)
		for _, script := range wildkey.Scripts() {
			for _, one := range corpus.Read(t, script.Name) {
				t.Run(script.Name+"/"+one.Name, func(t *testing.T) {
					readOnly := slices.ContainsFunc(one.Steps, func(step corpus.Step) bool {
						return strings.HasPrefix(strings.ToUpper(step.Command), "EVALSHA_RO ")
					})
					if readOnly && pair.Program.Before(7, 0) {
						t.Skip("this server has no EVALSHA_RO")
					}
					if err := compareCase(t, pair, one); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
}

func compareCase(t *testing.T, pair *differ.Pair, one corpus.Case) error {
	t.Helper()
	errs := []error{pair.Reset()}
	for _, script := range wildkey.Scripts() {
		errs = append(errs, pair.Same("SCRIPT", "LOAD", script.Source))
	}
	now := pair.Now().UnixMilli()
	for _, step := range one.Steps {
		var args []string
		for _, word := range corpus.Words(t, step.Command, now) {
			args = append(args, word.(string))
		}
		switch strings.ToUpper(args[0]) {
		case "MAXMEMORY":
			args = []string{"CONFIG", "SET", "maxmemory", args[1]}
		case "EVALSHA", "EVALSHA_RO":
			args[1] = corpus.Script(args[1]).SHA1
		}
		errs = append(errs, pair.Same(args...))
	}
	return errors.Join(append(errs, pair.SameKeyspace())...)
}
