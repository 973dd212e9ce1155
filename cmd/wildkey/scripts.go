package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wildkey/wildkey"
)

func (t *tool) scriptsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "scripts",
		Short: "List, load, verify or show the scripts",
		RunE: t.on(reading, func(ctx context.Context, s *session, _ []string) error {
			return t.listScripts(ctx, s)
		}),
	}
	command.AddCommand(t.scriptsLoadCommand(), t.scriptsVerifyCommand(), t.scriptsShowCommand())
	return command
}

func (t *tool) scriptsLoadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load",
		Short: "Load every script on every node",
		RunE: t.on(writing, func(ctx context.Context, s *session, _ []string) error {
			nodes, err := s.nodes(ctx, false)
			if err != nil {
				return err
			}
			var failed failures
			for _, node := range nodes {
				for _, script := range wildkey.Scripts() {
					if err := node.ScriptLoad(ctx, script.Source).Err(); err != nil {
						failed = append(failed, fmt.Errorf("SCRIPT LOAD %s.lua on %s: %w", script.Name, node.address, err))
						break
					}
				}
			}
			return cmp.Or(failed.err(), t.listScripts(ctx, s))
		}),
	}
}

func (t *tool) scriptsVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [SHA1SUMS]",
		Short: "Check that every node has the scripts of a SHA1SUMS file",
		Long: `Check that this tool and every node have the scripts with the digests of a
SHA1SUMS file, as sha1sum writes it. Without a file, the digests are those of
the scripts in this tool.

Redis finds a script by the SHA-1 of its text, so a node with the digest has the
script, byte for byte.`,
		RunE: t.on(reading, func(ctx context.Context, s *session, args []string) error {
			pinned := ownDigests()
			if len(args) == 1 {
				var err error
				if pinned, err = readDigests(args[0]); err != nil {
					return err
				}
			}
			rows, err := s.scriptRows(ctx, pinned)
			if err := cmp.Or(t.writeScripts(rows), err); err != nil {
				return err
			}
			wrong := lacking(rows)
			own := ownDigests()
			for _, row := range rows {
				if !slices.Contains(own, digest{row.Name, row.SHA1}) {
					wrong = append(wrong, row.Name+".lua of this tool has another digest, or is none of its scripts")
				}
			}
			for _, script := range own {
				if !slices.ContainsFunc(pinned, func(d digest) bool { return d.name == script.name }) {
					wrong = append(wrong, script.name+".lua is not in the file")
				}
			}
			if len(wrong) > 0 {
				return outcome{exitFindings, errors.New(strings.Join(wrong, "; "))}
			}
			return nil
		}),
	}
}

func (t *tool) scriptsShowCommand() *cobra.Command {
	var names []cobra.Completion
	for _, script := range wildkey.Scripts() {
		names = append(names, script.Name)
	}
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Write the text of a script, byte for byte",
		Long: "Write the text of a script, byte for byte: its sha1sum is the digest.\nThe scripts: " +
			strings.Join(names, ", ") + ".",
		ValidArgs: names,
		RunE: func(_ *cobra.Command, args []string) error {
			for _, script := range wildkey.Scripts() {
				if script.Name != args[0] {
					continue
				}
				if t.json {
					return t.line(map[string]string{"name": script.Name, "sha1": script.SHA1, "source": script.Source})
				}
				_, err := t.out.WriteString(script.Source)
				return err
			}
			return nil
		},
	}
}

// digest is what a script is pinned by.
type digest struct{ name, sha1 string }

func ownDigests() []digest {
	var own []digest
	for _, script := range wildkey.Scripts() {
		own = append(own, digest{script.Name, script.SHA1})
	}
	return own
}

// readDigests reads a file as sha1sum writes it.
func readDigests(path string) ([]digest, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var digests []digest
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) != 2 || len(fields[0]) != 40 {
			return nil, fmt.Errorf("%s: line %d is not a digest and a name", path, len(digests)+1)
		}
		digests = append(digests, digest{strings.TrimSuffix(strings.TrimPrefix(fields[1], "*"), ".lua"), fields[0]})
	}
	if len(digests) == 0 && scanner.Err() == nil {
		return nil, fmt.Errorf("%s has no digest in it", path)
	}
	return digests, scanner.Err()
}

// scriptRow says which nodes have a script.
type scriptRow struct {
	Name    string   `json:"name"`
	SHA1    string   `json:"sha1"`
	Loaded  []string `json:"loaded"`
	Missing []string `json:"missing"`
}

// scriptRows returns what the nodes say that answer, and an error about the others.
func (s *session) scriptRows(ctx context.Context, scripts []digest) ([]scriptRow, error) {
	nodes, err := s.nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	rows := make([]scriptRow, len(scripts))
	var digests []string
	for i, script := range scripts {
		rows[i] = scriptRow{Name: script.name, SHA1: script.sha1, Loaded: []string{}, Missing: []string{}}
		digests = append(digests, script.sha1)
	}
	var failed failures
	for _, node := range nodes {
		exists, err := node.ScriptExists(ctx, digests...).Result()
		if err != nil {
			failed = append(failed, fmt.Errorf("SCRIPT EXISTS on %s: %w", node.address, err))
			continue
		}
		for i := range rows {
			if exists[i] {
				rows[i].Loaded = append(rows[i].Loaded, node.address)
			} else {
				rows[i].Missing = append(rows[i].Missing, node.address)
			}
		}
	}
	return rows, failed.err()
}

// failures are the errors of several nodes, to be told in one line.
type failures []error

func (f failures) err() error {
	var all error
	for _, err := range f {
		if all == nil {
			all = err
		} else {
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}

func (t *tool) listScripts(ctx context.Context, s *session) error {
	rows, err := s.scriptRows(ctx, ownDigests())
	return cmp.Or(t.writeScripts(rows), err)
}

// writeScripts writes what is known of the scripts, if anything is.
func (t *tool) writeScripts(rows []scriptRow) error {
	if !slices.ContainsFunc(rows, func(r scriptRow) bool { return len(r.Loaded)+len(r.Missing) > 0 }) {
		return nil
	}
	return writeTable(t, rows, []string{"SCRIPT", "SHA1", "LOADED ON", "MISSING ON"}, func(row scriptRow) []string {
		return []string{plain(row.Name) + ".lua", plain(row.SHA1), nodeList(row.Loaded), nodeList(row.Missing)}
	})
}

func nodeList(nodes []string) string {
	if len(nodes) == 0 {
		return "-"
	}
	return strings.Join(nodes, " ")
}

// lacking returns, for each node that lacks scripts, which.
func lacking(rows []scriptRow) []string {
	names := map[string][]string{}
	for _, row := range rows {
		for _, node := range row.Missing {
			names[node] = append(names[node], row.Name+".lua")
		}
	}
	var lacks []string
	for _, node := range slices.Sorted(maps.Keys(names)) {
		lacks = append(lacks, node+" lacks "+strings.Join(names[node], ", "))
	}
	return lacks
}
