package luatest

import (
	"maps"
	"slices"
)

// Digest is the name of a script.
func Digest(source string) string { return digestOf(source) }

// CommandNames returns the commands that the engine has, subcommands as
// "script|load".
func CommandNames() []string {
	var names []string
	for _, c := range commands {
		if c.run != nil {
			names = append(names, c.name)
		}
		for sub := range maps.Values(c.subcommands) {
			names = append(names, sub.name)
		}
	}
	return slices.Sorted(slices.Values(names))
}
