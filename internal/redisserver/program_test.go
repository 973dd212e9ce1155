package redisserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestBefore(t *testing.T) {
	for _, test := range []struct {
		name, version string
		want          bool
	}{
		{"redis", "6.2.16", true},
		{"redis", "6.9.9", true},
		{"redis", "7.0.15", true},
		{"redis", "7.2.0", false},
		{"redis", "7.10.1", false},
		{"redis", "8.0.0", false},
		{"redis", "255.255.255", false},
		{"redis", "unstable", false},
		{"valkey", "7.2.5", false},
		{"valkey", "1.0.0", false},
	} {
		p := Program{Name: test.name, Version: test.version}
		if got := p.Before(7, 2); got != test.want {
			t.Errorf("%s is before 7.2: %t", p, got)
		}
	}
}

func TestMinor(t *testing.T) {
	for version, want := range map[string]string{
		"7.0.15": "redis-7.0", "7.10": "redis-7.10", "255.255.255": "redis-255.255", "unstable": "redis-unstable",
	} {
		if got := (Program{Name: "redis", Version: version}).Minor(); got != want {
			t.Errorf("%s is of %s, want %s", version, got, want)
		}
	}
}

// TestCLI has a server bring the cli that lies beside it.
func TestCLI(t *testing.T) {
	dir := t.TempDir()
	const cli = "#!/bin/sh\necho the one beside\n"
	if err := os.WriteFile(filepath.Join(dir, "valkey-cli"), []byte(cli), 0o777); err != nil {
		t.Fatal(err)
	}
	program := Program{Path: filepath.Join(dir, "valkey-server"), Name: "valkey", Version: "9.1.0"}
	program.Test(t, func(t *testing.T) {
		output, err := exec.Command("redis-cli").CombinedOutput()
		if string(output) != "the one beside\n" {
			t.Errorf("redis-cli is another one: %s, %v", output, err)
		}
	})
}
