package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"
)

// password returns the password that is asked for with --askpass, or that of
// $REDISCLI_AUTH, as redis-cli has it.
func (t *tool) password(ctx context.Context) (string, error) {
	if !t.askPassword {
		return os.Getenv("REDISCLI_AUTH"), nil
	}
	// Standard input may be the value of a record.
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("--askpass: there is no terminal on which to ask")
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("--askpass: %w", err)
	}
	fmt.Fprint(terminal, "Password: ")
	var password []byte
	read := make(chan error, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		password = text
		read <- err
	}()
	select {
	case err = <-read:
	case <-ctx.Done(): // the read goes on, without echo
		term.Restore(fd, before)
		err = ctx.Err()
	}
	fmt.Fprintln(terminal)
	if err != nil {
		return "", fmt.Errorf("--askpass: %w", err)
	}
	return string(password), terminal.Close()
}

// setCertificates has the client trust --cacert, and show --cert.
func (found target) setCertificates(t *tool) error {
	if t.cert == "" && t.key == "" && t.cacert == "" {
		return nil
	}
	var configs []*tls.Config
	if found.single != nil {
		configs = append(configs, found.single.TLSConfig)
	}
	if found.cluster != nil {
		configs = append(configs, found.cluster.TLSConfig)
	}
	if found.failover != nil {
		configs = append(configs, found.failover.TLSConfig)
	}
	for _, config := range configs {
		if config == nil {
			return errors.New("--cert, --key and --cacert are for TLS: the URL begins with rediss:// or rediss-sentinel://")
		}
		if t.cacert != "" {
			authorities, err := os.ReadFile(t.cacert)
			if err != nil {
				return fmt.Errorf("--cacert: %w", err)
			}
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(authorities) {
				return fmt.Errorf("--cacert: %s has no certificate in PEM", t.cacert)
			}
		}
		if (t.cert == "") != (t.key == "") {
			return errors.New("--cert and --key go together")
		}
		if t.cert != "" {
			pair, err := tls.LoadX509KeyPair(t.cert, t.key)
			if err != nil {
				return fmt.Errorf("--cert and --key: %w", err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
	}
	return nil
}
