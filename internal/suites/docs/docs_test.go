package docs

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
)

// files returns the files of this checkout whose name ends so, but for those of packages
// that npm has installed.
func files(t *testing.T, suffix string) []string {
	var found []string
	backend.Must(t, fs.WalkDir(os.DirFS(module.Path(".")), ".", func(name string, entry fs.DirEntry, err error) error {
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, suffix) {
			found = append(found, name)
		}
		return err
	}))
	return found
}

func read(t *testing.T, file string) string {
	content, err := os.ReadFile(module.Path(file))
	backend.Must(t, err)
	return string(content)
}

// TestGoIsOfExamples expects that the Go on each page of docs stands in a test, which is
// compiled and run.
func TestGoIsOfExamples(t *testing.T) {
	indent := regexp.MustCompile(`(?m)^\t+`)
	var tests strings.Builder
	for _, file := range files(t, "_test.go") {
		tests.WriteString(indent.ReplaceAllString(read(t, file), ""))
	}
	blocks := 0
	for _, file := range files(t, ".md") {
		if !strings.HasPrefix(file, "docs/") {
			continue
		}
		for _, block := range page.Code(t, file, "go") {
			blocks++
			if !strings.Contains(tests.String(), indent.ReplaceAllString(block, "")) {
				t.Errorf("%s: no test has\n%s", file, block)
			}
		}
	}
	if blocks == 0 {
		t.Error("no page of docs has Go")
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	noLink  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinks expects that what each page of this checkout links to is there.
func TestLinks(t *testing.T) {
	for _, file := range files(t, ".md") {
		for _, found := range link.FindAllStringSubmatch(read(t, file), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			linked := path.Join(path.Dir(file), target)
			if target == "" {
				linked = file
			}
			if _, err := os.Stat(module.Path(linked)); err != nil {
				t.Errorf("%s links to %s, which is not there", file, found[1])
				continue
			}
			if anchor == "" {
				continue
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(read(t, linked), -1) {
				name := noLink.ReplaceAllString(strings.ToLower(h[1]), "")
				anchors = append(anchors, strings.ReplaceAll(name, " ", "-"))
			}
			if !strings.Contains("\n"+strings.Join(anchors, "\n")+"\n", "\n"+anchor+"\n") {
				t.Errorf("%s links to %s, and no heading there is that", file, found[1])
			}
		}
	}
}
