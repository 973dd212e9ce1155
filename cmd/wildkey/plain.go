package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/wildkey/wildkey"
)

// plainly returns what an error says, with a sentence in the place of its cause, and what to
// do about that where advise is set. The words around the cause stay: they name a script or a node.
func plainly(err error, server string, advise bool) string {
	return strings.ReplaceAll(explain(err.Error(), err, server, advise), "wildkey: ", "")
}

func explain(text string, err error, server string, advise bool) string {
	if what, advice := cause(err, server); what != "" {
		if advise && advice != "" {
			what += "; " + advice
		}
		return strings.Replace(text, err.Error(), what, 1)
	}
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if inner := err.Unwrap(); inner != nil {
			text = explain(text, inner, server, advise)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range err.Unwrap() {
			text = explain(text, inner, server, advise)
		}
	}
	return text
}

// cause returns what has happened and what to do, or nothing if the error itself is no cause that it knows.
func cause(err error, server string) (what, advice string) {
	switch err := err.(type) {
	case redis.Error:
		return reply(err.Error(), server)
	case *net.OpError:
		return broken(err, server)
	case *tls.CertificateVerificationError:
		return fmt.Sprintf("the certificate of %s is not trusted: %s", server, strings.TrimPrefix(err.Err.Error(), "x509: ")),
			"--cacert names the authorities to trust"
	}
	if errors.Unwrap(err) == wildkey.ErrScriptMissing {
		script, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), wildkey.ErrScriptMissing.Error()+": "), " ")
		return server + " lacks " + script, "run wildkey scripts load, or leave out --preloaded"
	}
	switch err {
	case context.DeadlineExceeded:
		return server + " does not answer in time", "?read_timeout=30s in the URL waits longer"
	case io.EOF:
		return server + " has closed the connection", "look at its log"
	}
	return "", ""
}

// refusedCommand is where a server names a command that a user may not call.
var refusedCommand = regexp.MustCompile(`'([^']+)' command`)

// unknownCommand is where a server names a command that it does not have, or a proxy names none.
var unknownCommand = regexp.MustCompile("^ERR unknown command(?: ['`]([^'`]+)['`])?")

// reply is the cause of an error that the server has answered with.
func reply(text, server string) (what, advice string) {
	code, _, _ := strings.Cut(text, " ")
	const credentials = "put both into $REDIS_URL, as in redis://user:password@host:port"
	switch code {
	case "WRONGPASS":
		return server + " does not know this user with this password", credentials
	case "NOAUTH":
		return server + " asks for a user and a password", credentials
	case "NOPERM":
		if named := refusedCommand.FindStringSubmatch(text); named != nil {
			command := strings.ToUpper(strings.ReplaceAll(named[1], "|", " "))
			return "this user may not call " + command, "wildkey doctor says what to grant"
		}
		return "this user may not use one of the keys of a call", "wildkey doctor says what to grant"
	case "ERR":
		if named := unknownCommand.FindStringSubmatch(text); named != nil && named[1] != "" {
			return server + " has no command " + strings.ToUpper(named[1]), ""
		} else if named != nil {
			return server + " does not know a command that it was sent", ""
		}
	case "LOADING":
		return server + " is still loading its data", "try again when it has"
	case "MASTERDOWN":
		return server + " is a replica that has lost its master, and answers nothing", "give the URL of the master"
	case "READONLY":
		return server + " is a replica, which takes no writes", "give the URL of the master"
	case "OOM":
		return "the memory of " + server + " is full", "raise its maxmemory, or delete something: wildkey top shows what takes most"
	case "CLUSTERDOWN":
		return "the cluster of " + server + " does not serve all its slots", "look at CLUSTER INFO and CLUSTER SHARDS"
	case "MISCONF":
		return server + " takes no writes, since it cannot save them to disk", "look at its log"
	case "BUSY":
		return server + " is busy with a script", "try again, or look at SCRIPT KILL"
	}
	return "", ""
}

// broken is the cause of an error of a connection.
func broken(err *net.OpError, server string) (what, advice string) {
	at := server
	if err.Addr != nil {
		at = err.Addr.String()
	}
	var name *net.DNSError
	switch {
	case errors.As(err, &name):
		return fmt.Sprintf("there is no host %s", name.Name), "look at --url or $REDIS_URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s", at), "start the server, or give another --url or $REDIS_URL"
	case err.Timeout() && err.Op == "dial":
		return fmt.Sprintf("%s cannot be reached in time", at), "look at --url or $REDIS_URL, and at the firewall"
	case err.Timeout():
		return fmt.Sprintf("%s does not answer in time", at), "?read_timeout=30s in the URL waits longer"
	case err.Op == "dial":
		return fmt.Sprintf("%s cannot be reached: %v", at, err.Err), "look at --url or $REDIS_URL"
	}
	if err.Op == "remote error" { // an alert of TLS
		return fmt.Sprintf("the connection to %s is broken: %v", at, err.Err), "look at --cert and --key"
	}
	return fmt.Sprintf("the connection to %s is broken", at), "try again"
}

// server returns where the URL leads, without the password in it.
func (t *tool) server() string {
	parsed, err := url.Parse(cmp.Or(t.url, os.Getenv("REDIS_URL"), defaultURL))
	if err != nil || parsed.Host+parsed.Path == "" {
		return "the server"
	}
	if parsed.Host == "" {
		return visible(parsed.Path) // of a socket
	}
	return visible(parsed.Host)
}
