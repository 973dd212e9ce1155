package luatest

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// AddFiles makes the Coverage report the scripts in these files by name, even if none of
// them has run. The patterns are those of fs.Glob. AddFiles returns an error for a
// pattern that matches no file and for a file that does not compile.
func (c *Coverage) AddFiles(files fs.FS, patterns ...string) error {
	for _, pattern := range patterns {
		names, err := fs.Glob(files, pattern)
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("no file matches %q", pattern)
		}
		for _, name := range names {
			if err == nil {
				err = c.addFile(files, name)
			}
		}
		if err != nil {
			return fmt.Errorf("luatest: %w", err)
		}
	}
	return nil
}

func (c *Coverage) addFile(files fs.FS, name string) error {
	source, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	s, err := instrument(string(source), true, false)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.scripts[s.digest] == nil {
		c.scripts[s.digest] = newCovered(name, s)
	}
	c.scripts[s.digest].file = name
	return nil
}

// Name returns the script's file or, if it has none, its SHA-1.
func (s ScriptCoverage) Name() string {
	if s.File != "" {
		return s.File
	}
	return s.SHA1
}

// Percent returns the share of the script's lines and branches, taken together, that
// have run.
func (s ScriptCoverage) Percent() float64 {
	all := len(s.Lines) + len(s.Branches)
	if all == 0 {
		return 100
	}
	return 100 * float64(all-len(s.UncoveredLines())-len(s.UncoveredBranches())) / float64(all)
}

// Require fails the test for each script whose Percent is below percent, and lists what
// has not run. It also fails if no script has run at all.
func (c *Coverage) Require(t TB, percent float64) {
	t.Helper()
	scripts := c.Scripts()
	if len(scripts) == 0 {
		t.Errorf("no script has run: is the Coverage set on an engine, and has AddFiles its files?")
	}
	for _, s := range scripts {
		if got := s.Percent(); got < percent {
			var missing strings.Builder
			for _, line := range s.UncoveredLines() {
				fmt.Fprintf(&missing, "\n%s:%d has not run", s.Name(), line)
			}
			for _, branch := range s.UncoveredBranches() {
				fmt.Fprintf(&missing, "\n%s:%d never %s", s.Name(), branch.Line, branch.Branch)
			}
			t.Errorf("%.1f%% of %s has run, and %g%% is asked for%s", got, s.Name(), percent, &missing)
		}
	}
}

// WriteLCOV writes the coverage in the format of lcov and genhtml, which most coverage
// services also read.
func (c *Coverage) WriteLCOV(w io.Writer) error {
	var b strings.Builder
	for _, s := range c.Scripts() {
		fmt.Fprintf(&b, "TN:\nSF:%s\n", s.Name())
		for i, branch := range s.Branches {
			fmt.Fprintf(&b, "BRDA:%d,0,%d,%d\n", branch.Line, i, branch.Count)
		}
		fmt.Fprintf(&b, "BRF:%d\nBRH:%d\n", len(s.Branches), len(s.Branches)-len(s.UncoveredBranches()))
		for _, line := range s.Lines {
			fmt.Fprintf(&b, "DA:%d,%d\n", line.Line, line.Count)
		}
		fmt.Fprintf(&b, "LF:%d\nLH:%d\nend_of_record\n", len(s.Lines), len(s.Lines)-len(s.UncoveredLines()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
