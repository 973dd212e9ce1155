// Package module finds the files of this module, for tests in any of its
// packages.
package module

import (
	"bytes"
	"os"
	"path/filepath"
)

// Path returns the path of a file that is named from the root of the module.
// It panics outside of the module.
func Path(name string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(content, []byte("module github.com/wildkey/wildkey\n")) {
			return filepath.Join(dir, filepath.FromSlash(name))
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			panic("no go.mod of github.com/wildkey/wildkey above the working directory")
		}
		dir = parent
	}
}
