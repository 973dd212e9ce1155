package clients

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

const pythonPackage = "clients/python"

// TestPythonPackage installs the package as its README says, and has its own tests and
// the program of the README run with what was installed.
func TestPythonPackage(t *testing.T) {
	otherClients[0].require(t)
	source := filepath.Join(t.TempDir(), "source") // pip builds beside what it installs
	backend.Must(t, os.CopyFS(source, os.DirFS(module.Path(pythonPackage))))
	run := installPython(t, source)

	program := strings.Join(page.Code(t, pythonPackage+"/README.md", "python"), "")
	for _, class := range []string{"redis.Redis", "redis.asyncio.Redis"} {
		program = strings.ReplaceAll(program, class+"()", class+".from_url(os.environ['REDIS_URL'])")
	}
	const printed = "user:42:session:abc laptop\nuser:42:session:xyz phone\n2 logged out\nb'12 euros'\nuser:42 Ann\n"

	onServerAndEngine(t, func(t *testing.T, addr string) {
		if output, err := run(addr, "-c", "import os\n"+program); err != nil || output != printed {
			t.Errorf("the program of the README: %v\n%s", err, output)
		}
		output, err := run(addr, "-m", "unittest", "discover", "-s", filepath.Join(source, "tests"))
		if err != nil || strings.Contains(output, "\nRan 0 tests") { // it is no failure to find none
			t.Errorf("its own tests: %v\n%s", err, output)
		}
	})
}

// installPython installs a copy of the package into an environment of its own, and
// returns what runs that environment's interpreter. Where there is no pip it takes the
// package from the copy.
func installPython(t *testing.T, source string) func(addr string, args ...string) (string, error) {
	t.Helper()
	environment := filepath.Join(t.TempDir(), "environment")
	interpreter, path := filepath.Join(environment, "bin", "python"), ""
	output, err := exec.Command(python(), "-m", "venv", "--system-site-packages", environment).CombinedOutput()
	if err == nil {
		output, err = exec.Command(interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--no-index", "--no-deps", "--no-build-isolation", source).CombinedOutput()
	}
	if err != nil {
		if os.Getenv(requireClients) == "1" {
			t.Fatalf("%s=1, and the package can't be installed: %v\n%s", requireClients, err, output)
		}
		t.Logf("the package is not installed but taken from where it is: %v\n%s", err, output)
		interpreter, path = python(), source
	}
	directory := t.TempDir() // there is no other package of this name
	return func(addr string, args ...string) (string, error) {
		limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		command := exec.CommandContext(limited, interpreter, args...)
		command.Dir = directory
		command.Env = append(os.Environ(), "REDIS_URL=redis://"+addr, "PYTHONPATH="+path, "PYTHONDONTWRITEBYTECODE=1")
		output, err := command.CombinedOutput()
		return string(output), err
	}
}

// onServerAndEngine runs a test that needs nothing but an address on a server, and on
// the embedded engine by way of its listener.
func onServerAndEngine(t *testing.T, test func(t *testing.T, addr string)) {
	t.Run("server", func(t *testing.T) {
		onOneServer(t, func(t *testing.T, b *backend.Backend) {
			test(t, b.Server.Addr)
			backend.Must(t, b.Client.FlushAll(ctx).Err())
		})
	})
	t.Run("engine", func(t *testing.T) {
		engine := luatest.Live()
		defer engine.Close()
		addr, err := engine.Listen("127.0.0.1:0")
		backend.Must(t, err)
		test(t, addr)
	})
}

// TestPythonScripts expects that the package brings the scripts as they are.
func TestPythonScripts(t *testing.T) {
	files, err := filepath.Glob(module.Path("scripts/*.lua"))
	backend.Must(t, err)
	files = append(files, module.Path("scripts/SHA1SUMS"))
	for _, file := range files {
		want, err := os.ReadFile(file)
		backend.Must(t, err)
		got, err := os.ReadFile(filepath.Join(module.Path(pythonPackage), "wildkey/scripts", filepath.Base(file)))
		if err != nil || !bytes.Equal(want, got) {
			t.Errorf("run: make sums: the package has another %s: %v", filepath.Base(file), err)
		}
	}
	brought, err := filepath.Glob(filepath.Join(module.Path(pythonPackage), "wildkey/scripts/*"))
	backend.Must(t, err)
	if len(brought) != len(files) {
		t.Errorf("the package brings %q, and there are %q", brought, files)
	}
}

// TestPythonAtSentinels has the package find the master by way of a Sentinel, and read from
// the replica, where it may not write.
func TestPythonAtSentinels(t *testing.T) {
	client := otherClients[0]
	client.require(t)
	const program = `
import asyncio, sys, redis.asyncio.sentinel, redis.sentinel
from datetime import timedelta
import wildkey.asyncio
from wildkey import *

addresses, name = [sys.argv[1].split(":")], sys.argv[2]
sentinel = redis.sentinel.Sentinel(addresses)
master = sentinel.master_for(name)
cache = Wildkey(master, "test", ttl=timedelta(minutes=1))
cache.put(Record(("a",), "1"))
master.wait(1, 5000) # for the writes of this connection
print(Wildkey(sentinel.slave_for(name), "test", leave_stale=True).collect("**")[0].value.decode())

async def main():
    client = redis.asyncio.sentinel.Sentinel(addresses).master_for(name)
    cache = wildkey.asyncio.Wildkey(client, "test", ttl=timedelta(minutes=1))
    print([entry.value.decode() async for entry in cache.match("**")], await cache.delete(("a",)))

asyncio.run(main())
`
	redisserver.EachWatched(t, func(t *testing.T, w *redisserver.Watched) {
		command := client.command("python3", "-c", program, w.Sentinel.Addr, w.Name)
		command.Dir = module.Path(pythonPackage)
		command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		if output, err := command.CombinedOutput(); err != nil || string(output) != "1\n['1'] 1\n" {
			t.Errorf("%v\n%s", err, output)
		}
	})
}
