package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

// completionTime is how long a shell waits for what the server has.
var completionTime = time.Second

// maxCompletions is how many keys are offered. Some of more would mislead: a shell fills in
// what all that it is told of have in common.
const maxCompletions = 1_000

// complete has the shell ask the server for keys and namespaces.
func (t *tool) complete(root *cobra.Command) {
	for _, command := range root.Commands() {
		switch {
		case strings.Contains(command.Use, "KEY") || strings.Contains(command.Use, "PATTERN"):
			command.ValidArgsFunction = t.completeKey
		case !strings.Contains(command.Use, " "):
			command.ValidArgsFunction = cobra.NoFileCompletions
		}
		if command.Flags().Lookup("sort") != nil {
			command.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions([]string{"size", "ttl"}, cobra.ShellCompDirectiveNoFileComp))
		}
	}
	root.RegisterFlagCompletionFunc("namespace", t.completeNamespace)
}

// completeKey offers records and what lies beneath keys, one segment on, as ls does.
func (t *tool) completeKey(command *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	pattern, err := wildkey.ParsePattern(begun + "*")
	if err != nil || len(args) > 0 || strings.ContainsAny(begun, "*<") {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	keys, whole := t.fromServer(command, func(ctx context.Context, s *session, found chan<- string) error {
		n := 0
		for each, err := range s.cache.List(ctx, pattern) {
			if err != nil {
				return err
			}
			if n++; n > maxCompletions {
				return fmt.Errorf("more than %s", number(maxCompletions))
			}
			found <- item{record{Entry: wildkey.Entry{Key: each.Key}}, each.Beneath}.String()
		}
		return nil
	})
	if !whole && len(keys) == maxCompletions {
		help := fmt.Sprintf("more than %s keys begin with this", number(maxCompletions))
		return cobra.AppendActiveHelp(nil, help), directive
	}
	if !whole {
		return nil, directive
	}
	for _, key := range keys {
		if strings.HasSuffix(key, ":") {
			directive |= cobra.ShellCompDirectiveNoSpace // the key goes on
		}
	}
	return keys, directive
}

// completeNamespace offers the namespaces that are found in time.
func (t *tool) completeNamespace(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, _ := t.fromServer(command, func(ctx context.Context, s *session, found chan<- string) error {
		for name, err := range s.indexes(ctx, math.MaxInt) {
			if err != nil {
				return err
			}
			if options, _, ok := parseTag(name); ok {
				found <- options.Namespace
			}
		}
		return nil
	})
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// fromServer returns what is found in time, and whether that is all. It writes nothing to
// the server, asks for no password, and says nothing of what went wrong: the shell is
// about to show a command line.
func (t *tool) fromServer(
	command *cobra.Command, find func(ctx context.Context, s *session, found chan<- string) error,
) (all []string, whole bool) {
	t.preloaded, t.askPassword = true, false
	ctx, cancel := context.WithTimeout(command.Context(), completionTime)
	defer cancel()
	found, ended := make(chan string), make(chan error, 1)
	go func() { // a server that hangs is not waited for
		s, err := t.connect(ctx, reading)
		if err == nil {
			err = find(ctx, s, found)
		}
		ended <- err
	}()
	for {
		select {
		case one := <-found:
			all = append(all, one)
		case err := <-ended:
			return all, err == nil
		case <-ctx.Done():
			return all, false
		}
	}
}
