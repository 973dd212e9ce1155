package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/internal/backend"
	"github.com/wildkey/wildkey/internal/module"
	"github.com/wildkey/wildkey/internal/page"
	"github.com/wildkey/wildkey/internal/redisserver"
	"github.com/wildkey/wildkey/luatest"
)

// shellScript is wildkey.sh under one shell, in an environment that has
// nothing but what a test puts there.
type shellScript struct {
	interpreter []string
	env         []string
}

// interpreters are the shells that wildkey.sh is said to work under.
var interpreters = [][]string{{"dash"}, {"bash"}, {"busybox", "sh"}}

// onShells runs a test for wildkey.sh under each shell, on a server of its own
// that REDIS_URL names.
func onShells(t *testing.T, test func(t *testing.T, b *backend.Backend, script shellScript), options ...string) {
	t.Helper()
	shellClient(t)
	for _, interpreter := range interpreters {
		t.Run(interpreter[0], func(t *testing.T) {
			if _, err := exec.LookPath(interpreter[0]); err != nil {
				if os.Getenv(requireClients) == "1" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			onOneServer(t, func(t *testing.T, b *backend.Backend) {
				test(t, b, shellScript{interpreter, []string{
					"PATH=" + os.Getenv("PATH"), "REDIS_URL=redis://" + b.Server.Addr, "WILDKEY_NAMESPACE=test",
				}})
			}, options...)
		})
	}
}

// shellClient is that of otherClients, where all that it needs is installed.
func shellClient(t *testing.T) otherClient {
	t.Helper()
	client := otherClients[slices.IndexFunc(otherClients, func(c otherClient) bool { return c.name == "shell" })]
	client.require(t)
	return client
}

// with returns the script with variables more.
func (s shellScript) with(variables ...string) shellScript {
	s.env = slices.Concat(s.env, variables)
	return s
}

// ended is how a run of the script ended.
type ended struct {
	status           int
	output, reproach string
}

// run runs the script on a standard input.
func (s shellScript) run(t *testing.T, input string, args ...string) ended {
	t.Helper()
	words := slices.Concat(s.interpreter, []string{module.Path("clients/shell/wildkey.sh")}, args)
	return s.start(t, input, words...)
}

// code runs shell code in which $W stands for the shell and the script.
func (s shellScript) code(t *testing.T, code string) ended {
	t.Helper()
	script := strings.Join(append(slices.Clone(s.interpreter), module.Path("clients/shell/wildkey.sh")), " ")
	return s.with("W="+script).start(t, "", "sh", "-c", code)
}

func (s shellScript) start(t *testing.T, input string, words ...string) ended {
	t.Helper()
	deadline, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	command := exec.CommandContext(deadline, words[0], words[1:]...)
	command.Env, command.Dir = s.env, t.TempDir()
	command.Stdin = strings.NewReader(input)
	command.WaitDelay = time.Second
	var output, reproach strings.Builder
	command.Stdout, command.Stderr = &output, &reproach
	err := command.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%q: %v\n%s", words, err, reproach.String())
	}
	return ended{command.ProcessState.ExitCode(), output.String(), reproach.String()}
}

// want expects a status, and a word of the script about any above 1.
func (e ended) want(t *testing.T, status int, what string) {
	t.Helper()
	said := strings.Contains("\n"+e.reproach, "\nwildkey.sh: ")
	if e.status != status || said != (status > 1) {
		t.Errorf("%s: status %d, want %d, and a reason above 1\n%s%s", what, e.status, status, e.output, e.reproach)
	}
}

// prints expects status 0 and an output.
func (e ended) prints(t *testing.T, output, what string) {
	t.Helper()
	if e.status != 0 || e.output != output {
		t.Errorf("%s: status %d and %.200q, want 0 and %.200q\n%s", what, e.status, e.output, output, e.reproach)
	}
}

// verbsOnServer are calls that reach the server, with what each has on its
// standard input.
var verbsOnServer = []struct {
	input string
	args  []string
}{
	{"new", []string{"put", "user:1", "60000"}},
	{"delete user:1\n", []string{"apply"}},
	{"", []string{"get", "user:1"}},
	{"", []string{"ttl", "user:1"}},
	{"", []string{"take", "user:1"}},
	{"", []string{"delete", "user:1"}},
	{"", []string{"touch", "60000", "user:1"}},
	{"", []string{"match", "**"}},
	{"", []string{"records", "**"}},
	{"", []string{"keys", "**"}},
	{"", []string{"count", "**"}},
	{"", []string{"list", "*"}},
	{"", []string{"estimate", "**"}},
	{"", []string{"delete-match", "**"}},
	{"", []string{"touch-match", "60000", "**"}},
	{"", []string{"index", "**"}},
	{"", []string{"load"}},
}

// TestShellNeverWorksElsewhere expects that where the server refuses the user
// or the database of REDIS_URL, no verb sends anything at all but what redis-cli
// connects with, and a PING.
func TestShellNeverWorksElsewhere(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		b.Do(t, "ACL", "SETUSER", "app", "on", ">right", "~*", "+@all")
		b.Do(t, "ACL", "SETUSER", "off", "off", ">right", "~*", "+@all")
		script.run(t, "keep", "put", "user:1", "never").want(t, 0, "put")
		b.Do(t, "CONFIG", "RESETSTAT")
		urls := []string{
			"redis://" + b.Server.Addr + "/99", "redis://app:right@" + b.Server.Addr + "/99",
			"redis://app:wrong@" + b.Server.Addr, "redis://nobody:right@" + b.Server.Addr,
			"redis://off:right@" + b.Server.Addr,
			"redis://:right@" + b.Server.Addr,
		}
		for i, verb := range verbsOnServer {
			for j, url := range urls {
				if script.interpreter[0] != "dash" && (i+j)%len(urls) > 0 {
					continue
				}
				script.with("REDIS_URL="+url).run(t, verb.input, verb.args...).want(t, 3, fmt.Sprintf("%q at %s", verb.args, url))
			}
		}
		for _, line := range strings.Split(b.Client.Info(ctx, "commandstats").Val(), "\n") {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
			// 6.2 counts no subcommands.
			known := []string{"", "ping", "auth", "select", "info", "config|resetstat", "config", "command|docs", "command"}
			if !strings.HasPrefix(line, "#") && !slices.Contains(known, strings.TrimSpace(name)) {
				t.Errorf("sent although the connection was refused: %s", line)
			}
		}
		if value := b.Client.Get(ctx, "{test}:user:1").Val(); value != "keep" {
			t.Errorf("the record holds %q", value)
		}
	})
}

// TestShellWorksWhereAsked has the script work in another database, and as
// users whose names and passwords have odd bytes.
func TestShellWorksWhereAsked(t *testing.T) {
	var odd []byte // as a password, all that can be in a variable
	for c := 1; c < 256; c++ {
		odd = append(odd, byte(c))
	}
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		for i, account := range [][2]string{
			{"app", "p@ss:w/rd?#%41 \\0101"}, {"a:b", string(odd)}, {"app2", "\n"}, {"app3", "plain:$HOME'!"}, {"-n", " "},
			{"app4", "*"},
		} {
			name, password := account[0], account[1]
			b.Do(t, "ACL", "SETUSER", name, "reset", "on", ">"+password, "~*", "+@all")
			database := i + 1
			escaped := wildkey.K(name).String() + ":" + wildkey.K(password).String()
			at := script.with(fmt.Sprintf("REDIS_URL=redis://%s@%s/%d", escaped, b.Server.Addr, database))
			at.run(t, "mine", "put", "user:1", "never").want(t, 0, name)
			at.run(t, "", "get", "user:1").prints(t, "mine", name)
			for other := range 16 {
				client := redis.NewClient(&redis.Options{Addr: b.Server.Addr, DB: other})
				n := client.DBSize(ctx).Val()
				client.Close()
				if (n > 0) != (other >= 1 && other <= database) {
					t.Errorf("as %q in database %d: %d keys in database %d", name, database, n, other)
				}
			}
		}
		// What a URL may spell otherwise, of the user app3.
		for _, spelled := range []string{"app3:plain:$HOME'!", "%61pp3:plain%3a$HOME'%21"} {
			at := script.with("REDIS_URL=redis://" + spelled + "@" + b.Server.Addr + "/4")
			at.run(t, "", "get", "user:1").prints(t, "mine", spelled)
		}
		// The user's own permissions are the ones that count, and PING needs none.
		b.Do(t, "ACL", "SETUSER", "reader", "reset", "on", ">right", "~{test}:*", "+get")
		reader := script.with("REDIS_URL=redis://reader:right@" + b.Server.Addr)
		reader.run(t, "", "get", "user:1").want(t, 1, "a reader gets")
		reader.run(t, "x", "put", "user:1", "never").want(t, 3, "a reader puts")
		// Of the default user, by its password alone.
		b.Do(t, "CONFIG", "SET", "requirepass", "right")
		script.with("REDIS_URL=redis://:right@"+b.Server.Addr).run(t, "", "get", "user:1").want(t, 1, "the default user")
		script.run(t, "", "get", "user:1").want(t, 3, "without the password of the default user")
		b.Do(t, "CONFIG", "SET", "requirepass", "")
		for database := range 16 {
			client := redis.NewClient(&redis.Options{Addr: b.Server.Addr, DB: database})
			backend.Must(t, client.FlushDB(ctx).Err())
			client.Close()
		}
	})
}

// TestShellRefusesURLs expects status 2 for what redis-cli would leave out or
// read otherwise, before anything is connected, and no word of the password.
func TestShellRefusesURLs(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		host, port, err := net.SplitHostPort(b.Server.Addr)
		backend.Must(t, err)
		b.Do(t, "CONFIG", "RESETSTAT")
		for _, refused := range []string{
			"ADDR", "http://ADDR", "redis:ADDR", "REDIS://ADDR", "unix:///tmp/redis.sock",
			"redis://secret@ADDR", "redis://app:@ADDR", "redis://:@ADDR", "redis://@ADDR",
			"redis://app:secret%00@ADDR", "redis://app:secret%@ADDR", "redis://app:secret%4@ADDR", "redis://app:secret%zz@ADDR",
			"redis://app:sec/ret@ADDR", "redis://app:sec ret@ADDR", "redis://app:sec\"ret@ADDR", "redis://app:sec@ret@ADDR",
			"redis://app:sec?ret@ADDR", "redis://app:sec#ret@ADDR", "redis://app:secr\u00e9t@ADDR", "redis://app:secret\n@ADDR",
			"redis://ADDR/x", "redis://ADDR/1x", "redis://ADDR/-1", "redis://ADDR/01", "redis://ADDR/%31", "redis://ADDR/1/",
			"redis://ADDR/4294967296", "redis://ADDR/0?db=1", "redis://ADDR?db=1", "redis://ADDR#1",
			"redis://HOST:", "redis://HOST:0", "redis://HOST:065", "redis://HOST:99999", "redis://HOST:PORT:1", "redis://HOST:x",
			"redis://-x:PORT", "redis://ho st:PORT", "redis://127%2e0.0.1:PORT", "redis://[]:PORT", "redis://[x]:PORT",
		} {
			url := strings.NewReplacer("ADDR", b.Server.Addr, "HOST", host, "PORT", port).Replace(refused)
			got := script.with("REDIS_URL="+url).run(t, "v", "put", "user:1", "never")
			got.want(t, 2, refused)
			if strings.Contains(got.reproach, "sec") {
				t.Errorf("%s: it says %s", refused, got.reproach)
			}
		}
		stats := b.Client.Info(ctx, "commandstats").Val()
		if n := b.Client.DBSize(ctx).Val(); n != 0 || strings.Contains(stats, "cmdstat_ping") {
			t.Errorf("something was sent, and there are %d keys", n)
		}
		for _, taken := range []string{"redis://ADDR/", "redis://ADDR/0", "redis://HOST:PORT"} {
			url := strings.NewReplacer("ADDR", b.Server.Addr, "HOST", host, "PORT", port).Replace(taken)
			script.with("REDIS_URL="+url).run(t, "", "get", "user:1").want(t, 1, taken)
		}
	})
}

// tool puts a program in the place of another one, in a directory that is first
// in the PATH of the script that it returns. In its code $REAL is the other.
func (s shellScript) tool(t *testing.T, name, code string) shellScript {
	t.Helper()
	path, err := exec.LookPath(name)
	backend.Must(t, err)
	dir := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\nREAL=%s\n%s\n", path, code)
	backend.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(program), 0o777))
	return s.with("PATH=" + dir + ":" + os.Getenv("PATH"))
}

// TestShellHidesPassword looks at what redis-cli is given: its arguments, which
// ps shows, and its environment.
func TestShellHidesPassword(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		b.Do(t, "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
		seen := filepath.Join(t.TempDir(), "seen")
		spied := script.tool(t, "redis-cli", `printf '%s\n' "auth ${REDISCLI_AUTH-none} locale $LC_ALL args $*" >>`+
			seen+"\nexec $REAL \"$@\"")
		for url, want := range map[string]string{
			"redis://app:s%65cret@" + b.Server.Addr: "auth secret locale C args ",
			"redis://" + b.Server.Addr:              "auth none locale C args ",
		} {
			for _, verb := range verbsOnServer {
				at := spied.with("REDIS_URL="+url, "REDISCLI_AUTH=hostile", "LC_ALL=C.UTF-8")
				if got := at.run(t, verb.input, verb.args...); got.status > 1 {
					t.Errorf("%q: status %d\n%s", verb.args, got.status, got.reproach)
				}
			}
			content, err := os.ReadFile(seen)
			backend.Must(t, err)
			backend.Must(t, os.Remove(seen))
			for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
				args, ok := strings.CutPrefix(line, want)
				if !ok || strings.Contains(args, "cret") || strings.Contains(args, "redis://") {
					t.Errorf("redis-cli was called so: %s", line)
				}
			}
		}
	})
}

// TestShellTLS has the script work over TLS, with the certificates that it is
// told, and not without.
func TestShellTLS(t *testing.T) {
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certificate, key)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	backend.Must(t, err)
	addr := listener.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	backend.Must(t, err)
	backend.Must(t, listener.Close())
	// What differs here is redis-cli, and no shell.
	redisserver.EachProgram(t, func(t *testing.T, program redisserver.Program) {
		server, err := program.Run("--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file", key,
			"--tls-ca-cert-file", certificate, "--tls-auth-clients", "yes")
		if err != nil {
			t.Log(err)
			t.Skip("this server was built without TLS")
		}
		defer server.Close()
		script := shellScript{interpreters[0], []string{"PATH=" + os.Getenv("PATH")}}
		files := []string{"WILDKEY_TLS_CA=" + certificate, "WILDKEY_TLS_CERT=" + certificate, "WILDKEY_TLS_KEY=" + key}
		for _, host := range []string{"127.0.0.1", "localhost"} {
			safe := script.with("REDIS_URL=rediss://" + host + ":" + port + "/1")
			safe.with(files...).run(t, "v", "put", "a", "never").want(t, 0, "put over TLS")
			safe.with(files...).run(t, "", "get", "a").prints(t, "v", "get over TLS")
			safe.with(files[1:]...).run(t, "", "get", "a").want(t, 3, "a CA that is not known")
			safe.with(files[0]).run(t, "", "get", "a").want(t, 3, "no certificate of the client's own")
			plain := script.with("REDIS_URL=redis://" + host + ":" + port + "/1")
			plain.with(files...).run(t, "", "get", "a").want(t, 3, "no TLS where the server wants it")
		}
	})
}

// writeCertificate writes one that is signed by itself, and its key.
func writeCertificate(t *testing.T, certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	backend.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wildkey"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	backend.Must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	backend.Must(t, err)
	for path, block := range map[string]*pem.Block{
		certificate: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: encoded},
	} {
		backend.Must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
}

// TestShellNeverPutsWhatFailed has the input, or what writes it, fail in many
// ways: the record keeps its value.
func TestShellNeverPutsWhatFailed(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		script.run(t, "keep", "put", "a", "never").want(t, 0, "put")
		for _, failing := range []struct {
			status int
			code   string
		}{
			{3, "$W put a never <&-"},
			{3, "$W put a never </"},
			{2, "$W put a never </dev/null"},
			{2, "false | $W put a never"},
			{2, "/nowhere/producer 2>/dev/null | $W put a never"},
			{3, "$W put a never -- false"},
			{3, "$W put a never -- sh -c 'printf part; exit 1'"},
			{3, "$W put a never -- sh -c 'printf .wildkey.done; exit 1'"},
			{3, "$W put a never -- sh -c 'printf part; kill -9 $$'"},
			{3, "$W put a never -- /nowhere/producer"},
			{2, "$W put a never -- true"},
			{2, "$W put a never --"},
			{2, "$W put a never --empty x"},
			{2, "echo x | $W put a never --emtpy"},
			{3, "$W apply <&-"},
			{3, "$W apply </"},
			{2, "$W apply </dev/null"},
			{2, "printf 'delete a' | $W apply"},
			{2, "printf 'touch a never\\ndelete a' | $W apply"},
			{2, "printf 'delete a\\000\\n' | $W apply"},
			{3, "$W apply -- sh -c 'echo delete a; exit 1'"},
			{2, "$W apply -- printf 'delete a'"},
			{2, "$W apply delete a"},
			{3, "$W delete a >&-"},
		} {
			script.code(t, failing.code).want(t, failing.status, failing.code)
		}
		if value := b.Client.Get(ctx, "{test}:a").Val(); value != "keep" {
			t.Errorf("the record holds %q", value)
		}
		if n := b.Client.DBSize(ctx).Val(); n != 2 {
			t.Errorf("there are %d keys", n)
		}

		// What does not fail is written, and an empty value on purpose; who reads no input needs none.
		script.code(t, "$W put a never -- printf 'x\\0\\n\\n'").want(t, 0, "a command's output")
		script.run(t, "", "get", "a").prints(t, "x\x00\n\n", "a command's output")
		script.with("LC_ALL=C.UTF-8").code(t, "$W put a never -- sh -c 'printf %s \"$LC_ALL\"'").want(t, 0, "put")
		script.run(t, "", "get", "a").prints(t, "C.UTF-8", "a command has the caller's locale")
		script.code(t, "$W put a never '=C.UTF-8' --empty <&-").want(t, 0, "put --empty")
		script.code(t, "$W get a <&-").prints(t, "", "get")
		script.code(t, "$W apply -- printf 'delete a\\ncheck b -\\n'").prints(t, "1\n", "apply")
		// What cannot be written out is no success either.
		script.run(t, "v", "put", "a", "never").want(t, 0, "put")
		for _, verb := range []string{"get a", "match '**'", "count '**'", "ttl a", "key a", "delete a"} {
			got := script.code(t, "$W "+verb+" >/dev/full")
			if got.status != 3 {
				t.Errorf("%s: status %d where nothing can be printed", verb, got.status)
			}
		}
	})
}

// neededTools are the programs that clients/shell/README.md names.
func neededTools(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(module.Path("clients/shell/README.md"))
	backend.Must(t, err)
	sentence := regexp.MustCompile(`(?s)It needs (.*?)\. It says`).FindSubmatch(content)
	if sentence == nil {
		t.Fatal("the page does not say what it needs")
	}
	var tools []string
	for _, name := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllSubmatch(sentence[1], -1) {
		tools = append(tools, string(name[1]))
	}
	if !slices.Contains(tools, "od") {
		t.Fatalf("the tools are %q", tools)
	}
	return tools
}

// TestShellTools takes each tool away, and has each fail at once or half way:
// the put has status 3 and the record keeps its value. With them alone it works.
func TestShellTools(t *testing.T) {
	tools := neededTools(t)
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		directory := func(without string) string {
			dir := t.TempDir()
			for _, name := range slices.Concat(tools, script.interpreter[:1], []string{"sh"}) {
				if path, err := exec.LookPath(name); name != without {
					backend.Must(t, err)
					backend.Must(t, os.Symlink(path, filepath.Join(dir, name)))
				}
			}
			return dir
		}
		put := func(script shellScript) ended {
			backend.Must(t, b.Client.ScriptFlush(ctx).Err())
			return script.run(t, "new", "put", "a%20b", "never", "=%20keep")
		}
		script.run(t, " keep", "put", "a%20b", "never").want(t, 0, "put")
		for _, name := range tools {
			got := put(script.with("PATH=" + directory(name)))
			got.want(t, 3, "without "+name)
			if !strings.Contains(got.reproach, "there is no "+name+" in the PATH") {
				t.Errorf("without %s it says %s", name, got.reproach)
			}
			put(script.tool(t, name, "exit 1")).want(t, 3, name+" that fails")
			put(script.tool(t, name, "exit 127")).want(t, 3, name+" that is not there after all")
			if name != "sha1sum" { // which nobody needs where the scripts are loaded
				script.run(t, "", "load").want(t, 0, "load")
				script.tool(t, name, "exit 1").run(t, "new", "put", "a%20b", "never").want(t, 3, name+" that fails later")
			}
		}
		for name, code := range map[string]string{
			"od": "echo ' 6e'; exit 1", "awk": "printf n; exit 2", "sed": "printf n; exit 4", "mktemp": "echo /nowhere",
			"redis-cli": `$REAL "$@" | head -n 1`,
			"cat":       "exit 1",
		} {
			put(script.tool(t, name, code)).want(t, 3, name+" that fails half way")
		}
		script.run(t, "", "load").want(t, 0, "load")
		for _, verb := range []string{"get", "match", "take"} {
			script.run(t, "v", "put", "plain", "never").want(t, 0, "put") // a key that needs no awk
			got := script.tool(t, "awk", "printf n; exit 2").run(t, "", verb, "plain")
			got.want(t, 3, verb+" where awk fails")
			script.run(t, "", "get", "plain").prints(t, "v", "get after "+verb)
		}
		if value := b.Client.Get(ctx, "{test}:a%20b").Val(); value != " keep" {
			t.Errorf("the record holds %q", value)
		}
		put(script.with("PATH="+directory(""))).want(t, 0, "with what it needs alone")
		script.run(t, "", "get", "a%20b").prints(t, "new", "get")
	})
}

// assignment is one to a variable, in shell code.
var assignment = regexp.MustCompile(`(?m)(?:^|[\s;({])([a-z_][a-z0-9_]*)=`)

// TestShellIgnoresEnvironment gives the script an environment in which all that
// could change what it does is set, and values that fit into no argument.
func TestShellIgnoresEnvironment(t *testing.T) {
	content, err := os.ReadFile(module.Path("clients/shell/wildkey.sh"))
	backend.Must(t, err)
	hostile := []string{
		"IFS=eau:/", "CDPATH=/", "ENV=/nowhere", "LC_ALL=tr_TR.UTF-8", "LANG=et_EE.UTF-8", "LC_COLLATE=en_US.UTF-8",
		"GREP_OPTIONS=-v", "GZIP=-l", "POSIXLY_CORRECT=1", "PS4=$(exit 9)", "OPTIND=7", "HOME=/nowhere", "PWD=/nowhere",
		"REDISCLI_AUTH=wrong", "REDISCLI_RCFILE=/nowhere", "REDISCLI_HISTFILE=/nowhere", "FAKETTY=1", "TERM=dumb",
		"BASHOPTS=nocasematch:xpg_echo", "SHELLOPTS=allexport:keyword:pipefail:noglob:noclobber", "BASH_VERSION=5",
	}
	for _, name := range slices.Concat(neededTools(t), []string{
		"printf", "test", "[", ":", "fail", "say", "true", "command", "usage", "connected",
	}) {
		hostile = append(hostile, "BASH_FUNC_"+name+"%%=() {  echo hostile\n}")
	}
	names := assignment.FindAllSubmatch(content, -1)
	if len(names) < 50 {
		t.Fatalf("only %d variables in the script", len(names))
	}
	for _, name := range names {
		hostile = append(hostile, string(name[1])+"=hostile")
	}
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		script = script.with(hostile...)
		value := strings.Repeat(allBytes, 1200)
		key := wildkey.K("a\xfc:", "\n*", "e u").String()
		script.run(t, value, "put", key, "3600000").prints(t, "", "put")
		script.run(t, "", "get", key).prints(t, value, "get")
		script.run(t, "touch "+key+" never\ncheck nobody -\n", "apply").prints(t, "1\n", "apply")
		script.run(t, "", "ttl", key).prints(t, "never\n", "ttl")
		script.run(t, "", "key", "a\xfc:", "\n*", "e u").prints(t, key+"\n", "key")
		script.run(t, "", "keys", "*:*:**").prints(t, key+"\n", "keys")
		script.run(t, "", "match", "**").prints(t, key+" "+wildkey.K(value).String()+"\n", "match")
		script.run(t, "", "records", "**").prints(t, key+" never "+wildkey.K(value).String()+"\n", "records")
		script.run(t, "", "count", "a%FC%3A:**").prints(t, "1\n", "count")
		script.run(t, "", "list", "a*").prints(t, "a%FC%3A:\n", "list")
		script.run(t, "", "shard", "1073741824", "1", "123456789").prints(t, "200554790\n", "shard")
		script.run(t, "", "GET", key).want(t, 2, "a verb in capitals")
		script.run(t, "", "get", "nobody").want(t, 1, "get")
		script.run(t, "", "delete-match", "a*:**").prints(t, "1\n", "delete-match")
	})
}

// TestShellKeepsBytes has each shell write and read values and keys of odd bytes.
func TestShellKeepsBytes(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		cache := b.Cache(t, wildkey.Options{Namespace: "test"})
		for i, value := range []string{
			allBytes, "\x00", "\n", "\n\n\n", "v\n", " v ", "\x00\n\x00", "-n", "\\0101\\c%s", "'\"$(exit 9)`", "end", "end\n",
			strings.Repeat("\xff", 300_000),
		} {
			key := []wildkey.Key{wildkey.K("plain", i), wildkey.K(allBytes, i), wildkey.K("-n", "\n", "*", i)}[i%3]
			script.run(t, value, "put", key.String(), "never").want(t, 0, "put")
			got, err := cache.Get(ctx, key)
			if string(got) != value || err != nil {
				t.Errorf("put of %.20q: %.20q, %v", value, got, err)
			}
			script.run(t, "", "get", key.String()).prints(t, value, "get")
		}
		script.run(t, "", "key", "-n", "a\nb\n", "\xff", "%41", " ").prints(t, "-n:a%0Ab%0A:%FF:%2541:%20\n", "key")
		for _, refused := range []string{"", ":", "a::b", "a:", "a b", "a\n", "%41", "a\nb", "*", "é", "-n "} {
			script.run(t, "v", "put", refused, "never").want(t, 2, fmt.Sprintf("put %q", refused))
		}
	})
}

// TestShellVerbs holds what the verbs print against the Go package, with pages
// of few records and a stale entry in between.
func TestShellVerbs(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		cache := b.Cache(t, wildkey.Options{Namespace: "test"})
		pattern := wildkey.MustParsePattern("user:**")
		put := func() {
			for n := range 7 {
				backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", n, "session", "x"), "v")))
			}
			backend.Must(t, cache.Put(ctx, backend.Rec(wildkey.K("user", 3), "v"), backend.Rec(wildkey.K("zone"), "v")))
			b.Do(t, "DEL", "{test}:user:5:session:x")
		}
		put()
		for _, limits := range [][]string{nil, {"WILDKEY_PAGE_LIMIT=2", "WILDKEY_PAGE_READS=3", "WILDKEY_CALL_RECORDS=2"}} {
			script := script.with(limits...)
			bound, err := cache.Estimate(ctx, pattern)
			backend.Must(t, err)
			script.run(t, "", "estimate", "user:**").prints(t, fmt.Sprintln(bound), "estimate")
			bound, err = cache.Estimate(ctx, wildkey.MustParsePattern("**"))
			backend.Must(t, err)
			script.run(t, "", "estimate", "**").prints(t, fmt.Sprintln(bound), "estimate")
			var listed string
			for item, err := range cache.List(ctx, wildkey.MustParsePattern("user:*")) {
				backend.Must(t, err)
				listed += item.Key.String()
				if item.Beneath {
					listed += ":"
				}
				listed += "\n"
			}
			script.with("WILDKEY_LEAVE_STALE=1").run(t, "", "list", "user:*").prints(t, listed, "list")
			script.with("WILDKEY_LEAVE_STALE=1").run(t, "", "count", "user:**").prints(t, "7\n", "count")
			script.run(t, "", "touch-match", "7200000", "user:*:session:*").prints(t, "6\n", "touch-match")
			for key, want := range map[string]bool{"user:6:session:x": true, "user:3": false} {
				if left := b.Client.PTTL(ctx, "{test}:"+key).Val(); (left > time.Hour) != want {
					t.Errorf("%s has %v left", key, left)
				}
			}
			got := script.run(t, "", "ttl", "user:6:session:x")
			if ms := strings.TrimSpace(got.output); got.status != 0 || len(ms) != 7 || ms > "7200000" || ms < "7000000" {
				t.Errorf("ttl: status %d, %q", got.status, got.output)
			}
			script.run(t, "", "touch-match", "never", "user:6:**").prints(t, "1\n", "touch-match")
			script.run(t, "", "ttl", "user:6:session:x").prints(t, "never\n", "ttl")
			script.run(t, "", "ttl", "user:5:session:x").want(t, 1, "ttl")
			script.run(t, "", "delete-match", "user:**").prints(t, "7\n", "delete-match")
			script.run(t, "", "delete-match", "user:**").prints(t, "0\n", "delete-match")
			script.run(t, "", "keys", "**").prints(t, "zone\n", "keys")
			put()
		}
		for _, refused := range []string{"user:*", "*:**", "a<b:**", "user", "!user:**", "a*:**"} {
			script.run(t, "", "estimate", refused).want(t, 2, "estimate "+refused)
		}
		for _, refused := range []string{
			"list **", "list a:**", "touch-match 0 **", "touch-match keep **", "touch-match ** never",
		} {
			script.run(t, "", strings.Fields(refused)...).want(t, 2, refused)
		}
		script.run(t, "", "count", "**").prints(t, "8\n", "count")
		for _, bound := range []string{
			"WILDKEY_PAGE_LIMIT", "WILDKEY_PAGE_READS", "WILDKEY_CALL_BYTES", "WILDKEY_CALL_RECORDS",
		} {
			for _, refused := range []string{"0", "", "x", "1 1 1 =user", "1000 =user", "1\nFLUSHALL"} {
				script.with(bound+"="+refused).run(t, "", "keys", "**").want(t, 2, bound+"="+refused)
			}
		}
		script.run(t, "", "call", "put", "1 x\nFLUSHALL").want(t, 2, "a newline in a command")
		script.run(t, "", "count", "**").prints(t, "8\n", "count")
	})
}

// TestShellUsage has each verb say its own usage when it is called with too many
// arguments, and holds the verbs of the page against those of help.
func TestShellUsage(t *testing.T) {
	onShells(t, func(t *testing.T, b *backend.Backend, script shellScript) {
		help := script.run(t, "", "help")
		verbs := map[string]string{}
		usageLine := regexp.MustCompile(`(?m)^  ([a-z-]+)( [^a-z\n].*?)?   .*$`)
		for _, line := range usageLine.FindAllStringSubmatch(help.output, -1) {
			verbs[line[1]] += line[0] + "\n"
		}
		var of []string
		content, err := os.ReadFile(module.Path("clients/shell/README.md"))
		backend.Must(t, err)
		row := regexp.MustCompile("(?m)^\\| `(?:([a-z-]+).*?`(?:, `([a-z]+)`)?) \\| ")
		for _, row := range row.FindAllStringSubmatch(string(content), -1) {
			of = append(of, row[1])
			if row[2] != "" {
				of = append(of, row[2])
			}
		}
		slices.Sort(of)
		var known []string
		for verb, lines := range verbs {
			known = append(known, verb)
			args := []string{verb, "a", "b", "c", "d"}
			switch verb {
			case "delete", "key", "touch", "call", "put":
				args = args[:1] // they take any number
			}
			got := script.run(t, "", args...)
			got.want(t, 2, strings.Join(args, " "))
			if want := "wildkey.sh: usage:\n" + lines; got.reproach != want && verb != "put" && verb != "apply" {
				t.Errorf("%q says %q, want %q", args, got.reproach, want)
			}
			if !strings.Contains(got.reproach, "  "+verb+" ") {
				t.Errorf("%q says %q", args, got.reproach)
			}
		}
		slices.Sort(known)
		if diff := gocmp.Diff(known, slices.Compact(of)); diff != "" || len(known) < 20 {
			t.Errorf("the verbs (-help +page)\n%s", diff)
		}
		script.run(t, "", "nothing").want(t, 2, "an unknown verb")
		script.run(t, "").want(t, 2, "no verb")
	})
}

// TestShellPage installs the script as its page says and runs the lines that
// stand there, on a server and on the embedded engine.
func TestShellPage(t *testing.T) {
	const at = "clients/shell/README.md"
	shellClient(t)
	blocks, want := page.Code(t, at, "sh"), page.Code(t, at, "")[0]
	run := func(t *testing.T, addr string) {
		t.Helper()
		home := t.TempDir()
		script := shellScript{nil, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "REDIS_URL=redis://" + addr}}
		script.start(t, "", "sh", "-ec", "cd "+module.Path(".")+"\n"+blocks[0]).prints(t, "", "the installation")
		script.start(t, "", "sh", "-ec", "cd "+home+"/wildkey\n"+blocks[1]).prints(t, want, "the ten lines")
	}
	t.Run("server", func(t *testing.T) {
		onOneServer(t, func(t *testing.T, b *backend.Backend) { run(t, b.Server.Addr) })
	})
	t.Run("engine", func(t *testing.T) {
		engine := luatest.Live()
		defer engine.Close()
		addr, err := engine.Listen("127.0.0.1:0")
		backend.Must(t, err)
		run(t, addr)
	})
}

// TestShellStatus holds the exit statuses of wildkey.sh against what its page
// says of them: 1 is no value or a condition that fails, and nothing else is.
func TestShellStatus(t *testing.T) {
	shell := shellClient(t)
	onOneServer(t, func(t *testing.T, b *backend.Backend) {
		check := func(want int, code string) {
			t.Helper()
			output, err := shell.interpret(b, code)
			got := 0
			if exit := new(exec.ExitError); errors.As(err, &exit) {
				got = exit.ExitCode()
			} else {
				backend.Must(t, err)
			}
			said := strings.Contains("\n"+output, "\nwildkey.sh: ")
			if got != want || said != (want > 1) {
				t.Errorf("%s: status %d, want %d, and a reason above 1\n%s", code, got, want, output)
			}
		}

		// A redis-cli that fails at SCRIPT LOAD, as when the server has gone away since the call before, or always.
		redisCLI, err := exec.LookPath("redis-cli")
		backend.Must(t, err)
		away := t.TempDir()
		failing := "#!/bin/sh\nwhile read -r line; do\ncase $line in *\"$FAIL\"*) exit 1 ;; esac\n" +
			"printf '%s\\n' \"$line\"\ndone | " + redisCLI + " \"$@\"\n"
		backend.Must(t, os.WriteFile(filepath.Join(away, "redis-cli"), []byte(failing), 0o777))
		check(3, "export FAIL='SCRIPT LOAD' PATH="+away+":$PATH; echo x | ./wildkey.sh put a never")
		check(3, "export FAIL= PATH="+away+":$PATH; ./wildkey.sh get a")
		for _, command := range []string{"load", "put a never", "get a", "delete a", "touch never a", "match a"} {
			check(3, "export REDIS_URL=redis://127.0.0.1:1; echo x | ./wildkey.sh "+command)
		}
		check(2, "WILDKEY_SCRIPTS=/nowhere ./wildkey.sh load")

		check(1, "./wildkey.sh get a")
		check(2, "printf '' | ./wildkey.sh put a never")
		check(1, "./wildkey.sh ttl a")
		check(0, "./wildkey.sh put a never --empty")
		check(0, "printf old | ./wildkey.sh put a never =")
		for _, condition := range []string{`=x"y`, "=o ld", "=old%0", "=%6Fld", "=old:", "=old\n", "old", ""} {
			check(2, fmt.Sprintf("echo new | ./wildkey.sh put a never '%s'", condition))
		}
		check(2, `echo new | ./wildkey.sh put a never "=x'y"`)
		for _, condition := range []string{"=older", "=", "-"} {
			check(1, "echo new | ./wildkey.sh put a never "+condition)
		}
		check(0, "[ $(./wildkey.sh get a) = old ]")
		for _, shard := range []string{`\"`, "-1", "01", "8", "''", "9999999999999999"} {
			check(2, "echo new | WILDKEY_SHARDS=8 WILDKEY_SHARD="+shard+" ./wildkey.sh put a never")
		}
		for _, ttl := range []string{"0", "-1", "01", "1.5", "ever", "9999999999999999"} {
			check(2, "echo new | ./wildkey.sh put a "+ttl)
			check(2, "./wildkey.sh touch "+ttl+" a")
		}
		check(2, "./wildkey.sh touch keep a")
		check(1, "echo new | ./wildkey.sh put nobody keep")
		check(1, "./wildkey.sh take nobody")
		check(1, "echo check a - | ./wildkey.sh apply")
		check(0, "[ $(printf 'check nobody -\ntouch a never\n' | ./wildkey.sh apply) = 1 ]")
		check(2, "echo put a never | ./wildkey.sh apply")
		check(2, "printf 'delete a\ndelete a\n' | ./wildkey.sh apply")

		for _, numbers := range []string{"8 0", "0 1", "8 -1", "8 01", "8 x", "'' 1", "8 ''", "8 99999999999999999999"} {
			check(2, "./wildkey.sh shard "+numbers+" a")
		}
		check(0, "[ $(./wildkey.sh shard 16384 9 user:42) -lt 16384 ]")
	})
}
