package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestModules expects every module in go.work, and no replace directive in any:
// go install refuses a module that has one.
func TestModules(t *testing.T) {
	dir := copyCheckout(t)
	var work struct{ Use []struct{ DiskPath string } }
	must(t, json.Unmarshal([]byte(inDir(t, dir, "go", "work", "edit", "-json")), &work))
	used := []string{"clients/node"} // has no Go of its own
	for _, use := range work.Use {
		used = append(used, filepath.Clean(use.DiskPath))
	}
	var found []string
	for _, file := range strings.Fields(inDir(t, dir, "git", "ls-files", "go.mod", "*/go.mod")) {
		found = append(found, filepath.Dir(file))
		var module struct{ Replace []any }
		must(t, json.Unmarshal([]byte(inDir(t, dir, "go", "mod", "edit", "-json", file)), &module))
		if len(module.Replace) > 0 {
			t.Errorf("%s has a replace directive", file)
		}
	}
	if diff := cmp.Diff(used, found, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("(-go.work +go.mod)\n%s", diff)
	}
}

// copyCheckout returns a git repository with one commit: all files of the
// checkout as they lie, but for those that git ignores.
func copyCheckout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	inDir(t, dir, "git", "init", "-q")
	inDir(t, dir, "git", "config", "user.name", "Test")
	inDir(t, dir, "git", "config", "user.email", "test@example.com")
	inDir(t, "../..", "git", "--git-dir", filepath.Join(dir, ".git"), "--work-tree", ".", "add", "-A")
	inDir(t, dir, "git", "commit", "-q", "-m", "All")
	inDir(t, dir, "git", "reset", "-q", "--hard")
	return dir
}

// inDir runs a command in a directory and returns its output. Variables for its
// environment stand before its name, as for env.
func inDir(t *testing.T, dir string, words ...string) string {
	t.Helper()
	command := exec.Command("env", words...)
	command.Dir = dir
	var errOut strings.Builder
	command.Stderr = &errOut
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(words, " "), err, output, errOut.String())
	}
	return string(output)
}
