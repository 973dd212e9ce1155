package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wildkey/wildkey"
)

// nothing is an error about records that are not there.
type nothing string

func (n nothing) Error() string { return string(n) }

func nothingMatches(pattern fmt.Stringer) error {
	return outcome{exitNothing, nothing(fmt.Sprintf("nothing matches %s", pattern))}
}

func noRecord(key wildkey.Key) error {
	return outcome{exitNothing, nothing(fmt.Sprintf("there is no record %s", key))}
}

// placed says of what is not there where it was looked for, and where there is something.
func (t *tool) placed(ctx context.Context, s *session, err error) error {
	var missing nothing
	if !errors.As(err, &missing) {
		return err
	}
	where := fmt.Sprintf(" in namespace %s%s on %s", plain(t.namespace), shardsOf(s.cache.Options()), t.server())
	if entries, err := s.entries(ctx); err == nil && entries == 0 {
		where += s.elsewhere(ctx)
	}
	return fmt.Errorf("%w%s", err, where)
}

// shardsOf names the shards of a namespace that has several.
func shardsOf(options wildkey.Options) string {
	if options.Shards <= 1 {
		return ""
	}
	return fmt.Sprintf(" (%s by %s)", counted(options.Shards, "shard", "shards"),
		counted(options.ShardSegments, "segment", "segments"))
}

// What may be spent on a hint.
const (
	hintTime  = time.Second
	hintCalls = 20 // of SCAN, on each node
)

// elsewhere names the namespaces that a short walk of the servers meets. It says nothing
// where this user may not walk.
func (s *session) elsewhere(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, hintTime)
	defer cancel()
	met, whole := map[string]bool{}, true
	for name, err := range s.indexes(ctx, hintCalls) {
		if err != nil {
			whole = false
		} else if options, _, ok := parseTag(name); ok {
			met[plain(options.Namespace)+shardsOf(options)] = true
		}
	}
	switch {
	case len(met) > 0 && whole:
		return "; namespaces here: " + some(slices.Sorted(maps.Keys(met)))
	case len(met) > 0:
		return "; namespaces here, among others: " + some(slices.Sorted(maps.Keys(met)))
	case whole:
		return "; no namespace is here"
	}
	return ""
}
