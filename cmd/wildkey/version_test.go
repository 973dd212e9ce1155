package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	stamped := func(modified string) *debug.BuildInfo {
		return &debug.BuildInfo{
			Main:     debug.Module{Version: "v0.1.0"},
			Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.modified", Value: modified}},
		}
	}
	for _, test := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{&debug.BuildInfo{}, "wildkey (devel), GO"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v0.1.0"}}, "wildkey v0.1.0, GO"},
		{stamped("false"), "wildkey v0.1.0, commit 0123abcd, GO"},
		{stamped("true"), "wildkey v0.1.0, commit 0123abcd with uncommitted changes, GO"},
	} {
		if want := strings.Replace(test.want, "GO", runtime.Version(), 1); versionOf(test.info).String() != want {
			t.Errorf("%s, want %s", versionOf(test.info), want)
		}
	}
}
