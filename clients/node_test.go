package clients

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

const nodePackage = "clients/node" // from the root of the module

// requireNode skips the test, or fails it, where node or a module of the package's own
// tests is missing.
func requireNode(t *testing.T) {
	t.Helper()
	otherClient{needs: []string{
		"sh", "-c", "cd " + nodePackage + " && node --input-type=module -e \"await import('redis'); await import('ioredis')\"",
	}}.require(t)
}

var passed = regexp.MustCompile(`(?m)^# pass [1-9]`)

// testNode runs the tests of the package whose names match, in an environment that says
// where the servers are.
func testNode(t *testing.T, names string, environment ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(module.Path(nodePackage), "test", "*.test.js"))
	backend.Must(t, err)
	command := exec.Command("node", append([]string{"--test", "--test-reporter=tap", "--test-name-pattern=" + names}, files...)...)
	command.Dir = module.Path(nodePackage)
	command.Env = append(os.Environ(), environment...)
	if output, err := command.CombinedOutput(); err != nil || !passed.Match(output) {
		t.Errorf("%v %q: %v\n%s", command.Args, environment, err, output)
	}
}

// TestNodePackage runs the tests of the package on a server, by both protocols.
func TestNodePackage(t *testing.T) {
	requireNode(t)
	for _, protocol := range []string{"2", "3"} {
		t.Run("RESP"+protocol, func(t *testing.T) {
			onOneServer(t, func(t *testing.T, b *backend.Backend) {
				testNode(t, ".", "REDIS_URL=redis://"+b.Server.Addr, "REDIS_RESP="+protocol)
			})
		})
	}
}

// TestNodePackageOnEngine runs them on the embedded engine, which speaks RESP2.
func TestNodePackageOnEngine(t *testing.T) {
	requireNode(t)
	testNode(t, ".", "REDIS_URL=redis://"+listen(t), "REDIS_RESP=2")
}

// listen returns the address of an engine.
func listen(t *testing.T) string {
	t.Helper()
	engine := luatest.Live()
	t.Cleanup(func() { engine.Close() })
	addr, err := engine.Listen("127.0.0.1:0")
	backend.Must(t, err)
	return addr
}

// TestNodePackageOnCluster runs those of its tests that take a client of each kind on a
// cluster, by the clients of clusters.
func TestNodePackageOnCluster(t *testing.T) {
	requireNode(t)
	redisserver.EachCluster(t, 3, 0, func(t *testing.T, cluster *redisserver.Cluster) {
		addr := cluster.Nodes[0].Addr
		testNode(t, "cluster$", "REDIS_URL=redis://"+addr, "REDIS_CLUSTER="+addr)
	})
}

// TestNodePackageUnderSentinel runs them by clients that ask a Sentinel for the master.
func TestNodePackageUnderSentinel(t *testing.T) {
	requireNode(t)
	redisserver.EachWatched(t, func(t *testing.T, w *redisserver.Watched) {
		testNode(t, "sentinel$", "REDIS_URL=redis://"+w.Nodes[0].Addr, "REDIS_SENTINEL="+w.Sentinel.Addr+"/"+w.Name)
	})
}

// TestNodePackageInstalls packs the package, installs it in a new folder as its
// README.md says, and runs the program that stands there on a server and on the
// embedded engine. The scripts in it are those of the repository.
func TestNodePackageInstalls(t *testing.T) {
	requireNode(t)
	folder := t.TempDir()
	npm := func(dir string, args ...string) {
		t.Helper()
		command := exec.Command("npm", args...)
		command.Dir = dir
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command.Args, err, output)
		}
	}
	npm(module.Path(nodePackage), "pack", "--pack-destination", folder)
	npm(folder, "init", "-y")
	npm(folder, "install", "--no-audit", "--no-fund", "./wildkey-0.1.0.tgz", "redis")
	if _, err := os.Stat(module.Path(nodePackage + "/scripts")); err == nil {
		t.Error("copies of the scripts are left in the repository, where they would be taken for the scripts")
	}

	installed := filepath.Join(folder, "node_modules", "wildkey")
	want, err := filepath.Glob(module.Path("scripts/*.lua"))
	backend.Must(t, err)
	for _, original := range append(want, module.Path("scripts/SHA1SUMS"), module.Path("LICENSE")) {
		copied := filepath.Join(installed, filepath.Base(original))
		if strings.HasPrefix(original, module.Path("scripts")) {
			copied = filepath.Join(installed, "scripts", filepath.Base(original))
		}
		source, err := os.ReadFile(original)
		backend.Must(t, err)
		if packed, err := os.ReadFile(copied); err != nil || string(packed) != string(source) {
			t.Errorf("%s is not that of the repository: %v", copied, err)
		}
	}
	var packed []string
	entries, err := os.ReadDir(installed)
	backend.Must(t, err)
	for _, entry := range entries {
		packed = append(packed, entry.Name())
	}
	expected := []string{"LICENSE", "README.md", "lib", "package.json", "scripts", "wildkey.d.ts", "wildkey.js"}
	if diff := gocmp.Diff(expected, packed); diff != "" {
		t.Errorf("the package (-want +got)\n%s", diff)
	}

	program := page.Code(t, nodePackage+"/README.md", "js")[0]
	output := page.Code(t, nodePackage+"/README.md", "text")[0]
	run := func(t *testing.T, addr, program string) {
		t.Helper()
		backend.Must(t, os.WriteFile(filepath.Join(folder, "program.mjs"), []byte(program), 0o666))
		command := exec.Command("node", "program.mjs")
		command.Dir = folder
		command.Env = append(os.Environ(), "REDIS_URL=redis://"+addr)
		got, err := command.CombinedOutput()
		if diff := gocmp.Diff(output, string(got)); err != nil || diff != "" {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
	}
	t.Run("server", func(t *testing.T) {
		onOneServer(t, func(t *testing.T, b *backend.Backend) { run(t, b.Server.Addr, program) })
	})
	t.Run("engine", func(t *testing.T) {
		run(t, listen(t), strings.Replace(program, "createClient({", "createClient({ RESP: 2,", 1))
	})
}
