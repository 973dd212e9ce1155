package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestRelease releases a copy of the checkout as v0.1.0, installs the tool from a
// file tree that stands in for a module proxy, and builds the files of the
// release in two folders.
func TestRelease(t *testing.T) {
	const library = "github.com/wildkey/wildkey"
	dir := copyCheckout(t)
	inDir(t, dir, "make", "-s", "release", "VERSION=v0.1.0")
	commit := strings.TrimSpace(inDir(t, dir, "git", "rev-parse", "cmd/wildkey/v0.1.0"))

	// The go command makes modules of tags as a proxy does, and its cache is laid out as a proxy's tree.
	tree := t.TempDir()
	cached := "file://" + strings.TrimSpace(inDir(t, ".", "go", "env", "GOMODCACHE")) + "/cache/download"
	inDir(t, t.TempDir(), "GOMODCACHE="+tree, "GOFLAGS=-modcacherw", "GOPRIVATE="+library,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+dir+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+library,
		"go", "mod", "download", library+"@v0.1.0", library+"/cmd/wildkey@v0.1.0")
	fromTree := []string{
		"GOPROXY=file://" + tree + "/cache/download," + cached, "GOSUMDB=off", "GOMODCACHE=" + t.TempDir(), "GOWORK=off",
		"CGO_ENABLED=0", "GOFLAGS=-modcacherw -trimpath", // as in make dist, whose packages are built already
	}

	t.Run("go install", func(t *testing.T) {
		bin := t.TempDir()
		inDir(t, bin, append(fromTree, "GOBIN="+bin, "go", "install", library+"/cmd/wildkey@v0.1.0")...)
		got := inDir(t, bin, "./wildkey", "--version")
		if want := "wildkey v0.1.0, "; !strings.HasPrefix(got, want) || strings.Contains(got, "commit") {
			t.Errorf("%s, want %s", got, want)
		}
	})

	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "the second")
	for _, clone := range []string{first, second} {
		inDir(t, dir, "git", "clone", "-q", "--branch", "cmd/wildkey/v0.1.0", dir, clone)
	}
	t.Run("checksums of the module", func(t *testing.T) {
		inDir(t, filepath.Join(first, "cmd/wildkey"), append(fromTree, "go", "list", "-test", "-deps", "./...")...)
	})
	t.Run("dist", func(t *testing.T) {
		inDir(t, first, "make", "-s", "dist")
		inDir(t, second, "make", "-s", "dist")
		sums := map[string]string{}
		for _, clone := range []string{first, second} {
			dist := filepath.Join(clone, "dist")
			inDir(t, dist, "sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS")
			content, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
			must(t, err)
			sums[clone] = string(content)
		}
		if diff := cmp.Diff(sums[first], sums[second]); diff != "" {
			t.Errorf("two folders give two results\n%s", diff)
		}
		var names []string
		for _, line := range strings.Split(strings.TrimSpace(sums[first]), "\n") {
			names = append(names, strings.Fields(line)[1])
		}
		want := []string{"wildkey-linux-amd64", "wildkey-linux-arm64", "wildkey.bash", "wildkey.fish", "wildkey.zsh"}
		if diff := cmp.Diff(want, names, cmpopts.SortSlices(strings.Compare)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		for _, arch := range []string{"amd64", "arm64"} {
			built := inDir(t, first, "go", "version", "-m", "dist/wildkey-linux-"+arch)
			for _, setting := range []string{
				"mod\t" + library + "/cmd/wildkey\tv0.1.0", "GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=0",
				"vcs.revision=" + commit, "vcs.modified=false",
			} {
				if !strings.Contains(built, "\t"+setting) {
					t.Errorf("%s: no %q in\n%s", arch, setting, built)
				}
			}
		}
	})
}
