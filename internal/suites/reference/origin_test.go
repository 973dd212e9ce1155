package reference

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
)

var (
	testCited   = regexp.MustCompile("`(Test\\w+)`")
	testDefined = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// TestOriginNamesTests expects that each test which docs/origin.md names exists, and
// that it names each test of this suite.
func TestOriginNamesTests(t *testing.T) {
	content, err := os.ReadFile(module.Path("docs/origin.md"))
	backend.Must(t, err)
	var cited, defined, ofReference []string
	for _, name := range testCited.FindAllStringSubmatch(string(content), -1) {
		cited = append(cited, name[1])
	}
	root := os.DirFS(module.Path("."))
	backend.Must(t, fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(root, path)
		for _, name := range testDefined.FindAllStringSubmatch(string(source), -1) {
			defined = append(defined, name[1])
			if strings.HasPrefix(path, "internal/suites/reference/") {
				ofReference = append(ofReference, name[1])
			}
		}
		return err
	}))
	for _, name := range cited {
		if !slices.Contains(defined, name) {
			t.Errorf("the page names %s, and there is no such test", name)
		}
	}
	for _, name := range ofReference {
		if !slices.Contains(cited, name) {
			t.Errorf("the page does not name %s", name)
		}
	}
	if len(cited) == 0 || len(ofReference) == 0 {
		t.Errorf("%d tests are named, and %d are here", len(cited), len(ofReference))
	}
}
