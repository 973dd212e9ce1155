package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what the Go tools have written into the program.
type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // of a build from a checkout
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

func ownVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) version {
	v := version{Version: cmp.Or(info.Main.Version, "(devel)"), Go: runtime.Version()}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			v.Commit = setting.Value
		case "vcs.modified":
			v.Modified = setting.Value == "true"
		}
	}
	return v
}

func (v version) String() string {
	text := "wildkey " + v.Version
	if v.Commit != "" {
		text += ", commit " + v.Commit
	}
	if v.Modified {
		text += " with uncommitted changes"
	}
	return text + ", " + v.Go
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of the tool, and its commit",
		RunE: func(*cobra.Command, []string) error {
			t.started = true
			v := ownVersion()
			return t.result(v, "%s", v)
		},
	}
}
