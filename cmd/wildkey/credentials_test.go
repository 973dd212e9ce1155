package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"github.com/wildkey/wildkey/internal/redisserver"
)

// TestCertificates reaches a server that trusts only clients with a certificate.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	authority := newCertificate(t, nil, file("ca"))
	newCertificate(t, authority, file("server"))
	newCertificate(t, authority, file("client"))
	newCertificate(t, nil, file("stranger"))
	must(t, os.WriteFile(file("empty"), nil, 0o666))
	redisserver.Each(t, func(t *testing.T, server *redisserver.Server) {
		if err := server.Client(t).Do(context.Background(), "CONFIG", "SET", "tls-cert-file", file("server.crt"),
			"tls-key-file", file("server.key"), "tls-ca-cert-file", file("ca.crt")).Err(); err != nil {
			t.Skip("the server has no TLS: ", err)
		}
		address := listenTLS(t, server.Client(t))
		run := shell(t, server)
		url := "wildkey --url rediss://" + address + " "
		trusting := "--cacert " + file("ca.crt") + " "
		for _, test := range []struct {
			command, want string
			code          int
		}{
			{url + trusting + "--cert " + file("client.crt") + " --key " + file("client.key") + " count", "0\nwildkey: nothing matches", exitNothing},
			{"export WILDKEY_CACERT=" + file("ca.crt") + " WILDKEY_CERT=" + file("client.crt") + " WILDKEY_KEY=" + file("client.key") +
				"; " + url + "count", "0\nwildkey: nothing matches", exitNothing},
			{url + trusting + "count", "wildkey: the connection to " + address + " is broken", exitFailure},
			{url + "count", "wildkey: the certificate of " + address + " is not trusted: ", exitFailure},
			{url + trusting + "--cert " + file("stranger.crt") + " --key " + file("stranger.key") + " count", "wildkey: the connection to " + address + " is broken", exitFailure},
			{url + "--cacert " + file("stranger.crt") + " --cert " + file("client.crt") + " --key " + file("client.key") + " count",
				"wildkey: the certificate of " + address + " is not trusted: ", exitFailure},
			{url + trusting + "--cert " + file("client.crt") + " count", "wildkey: --cert and --key go together\n", exitUsage},
			{url + "--key " + file("client.key") + " count", "wildkey: --cert and --key go together\n", exitUsage},
			{url + "--cert " + file("client.crt") + " --key " + file("server.key") + " count",
				"wildkey: --cert and --key: tls: private key does not match public key\n", exitUsage},
			{url + "--cacert " + file("none") + " count", "wildkey: --cacert: open ", exitUsage},
			{url + "--cacert " + file("empty") + " count", "wildkey: --cacert: " + file("empty") + " has no certificate in PEM\n", exitUsage},
			{"wildkey " + trusting + " count", "wildkey: --cert, --key and --cacert are for TLS", exitUsage},
		} {
			if output, code := run(test.command); !strings.HasPrefix(output, test.want) || code != test.code {
				t.Errorf("%s: exit code %d, and\n%swant %d, and\n%s", test.command, code, output, test.code, test.want)
			}
		}
	})
}

// listenTLS has a server listen for TLS too.
func listenTLS(t *testing.T, client *redis.Client) (address string) {
	t.Helper()
	for range 5 { // another process may take the port
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address = listener.Addr().String()
		must(t, listener.Close())
		_, port, err := net.SplitHostPort(address)
		must(t, err)
		if err = client.ConfigSet(context.Background(), "tls-port", port).Err(); err == nil {
			return address
		}
		t.Log(err)
	}
	t.Skip("the server does not listen for TLS")
	return ""
}

// newCertificate writes NAME.crt and NAME.key, signed by an authority or, if that is nil,
// by itself.
func newCertificate(t *testing.T, authority *signer, name string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: filepath.Base(name)},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  authority == nil,
		BasicConstraintsValid: true,
	}
	own := &signer{template, key}
	if authority == nil {
		authority = own
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, authority.certificate, &key.PublicKey, authority.key)
	must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write := func(file, kind string, bytes []byte) {
		must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
	}
	write(name+".crt", "CERTIFICATE", signed)
	write(name+".key", "PRIVATE KEY", secret)
	return own
}

type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// TestInterruptedPassword presses Ctrl-C at the question of --askpass: the tool ends, and the
// terminal echoes again.
func TestInterruptedPassword(t *testing.T) {
	screen, terminal, err := pty.Open()
	must(t, err)
	defer screen.Close()
	defer terminal.Close()
	state := func() term.State {
		state, err := term.GetState(int(screen.Fd()))
		must(t, err)
		return *state
	}
	before := state()
	command := toolCommand(t, &redisserver.Server{Addr: "127.0.0.1:1"}, "ls", "--askpass") // it asks no server
	command.Stdin, command.Stdout, command.Stderr = terminal, terminal, terminal
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, command.Start())
	waitFor(t, func() bool { return state() != before })
	_, err = screen.WriteString("\x03")
	must(t, err)
	if code := exitOf(t, command); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if state() != before {
		t.Error("the terminal is left without echo")
	}
}
