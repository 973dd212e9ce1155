package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

const (
	defaultURL          = "redis://127.0.0.1:6379"
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
)

const urlHelp = `--url or $REDIS_URL names the server:
  redis://[user:password@]host[:port][/db]
  redis-sentinel://[user:password@]host[:port][,host[:port]...]/master[/db]
  unix://[user:password@]/path/to/socket
rediss:// and rediss-sentinel:// do the same over TLS. Options follow a ?, as in
?read_timeout=10s. Others can see a password on a command line, so set
$REDIS_URL or $REDISCLI_AUTH, or let --askpass ask for it.`

// target is the server that a URL names. Which of single and cluster
// is right only the server can tell; what the URL cannot mean is nil.
type target struct {
	single    *redis.Options
	cluster   *redis.ClusterOptions
	noCluster error // why cluster is nil
	failover  *redis.FailoverOptions
}

// target reads --url or $REDIS_URL. No error has a part of the URL in it that might
// belong to a password.
func (t *tool) target(ctx context.Context) (target, error) {
	source, text := "--url", t.url
	if text == "" {
		source, text = "$REDIS_URL", cmp.Or(os.Getenv("REDIS_URL"), defaultURL)
	}
	parsed, err := parseURL(text)
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", source, err)
	}
	_, hasPassword := parsed.User.Password()
	if source == "--url" && (hasPassword || parsed.options.Has("sentinel_password")) {
		return target{}, errors.New("--url has a password, which others can see in the list of processes: " +
			"set $REDIS_URL or $REDISCLI_AUTH, or give --askpass")
	}
	password, err := t.password(ctx)
	if err != nil {
		return target{}, err
	}
	if password != "" && (t.askPassword || !hasPassword) {
		parsed.User, hasPassword = url.UserPassword(parsed.User.Username(), password), true
	}
	if parsed.User.Username() != "" && !hasPassword {
		return target{}, fmt.Errorf("%s names a user without a password: set $REDISCLI_AUTH, or give --askpass", source)
	}
	found, err := parsed.target()
	if err != nil {
		return target{}, fmt.Errorf("%s: %w", source, parsed.withoutSecrets(err))
	}
	return found, found.setCertificates(t)
}

// serverURL is a URL whose parts are known to be right, but for its options.
type serverURL struct {
	url.URL              // of the first address; without the options
	more      []string   // addresses of Sentinels
	master    string     // that the Sentinels have; empty if they are none
	options   url.Values // behind the ?
	ambiguous bool       // an @ behind the address: a password may have been taken for the rest
}

// errUnescaped takes the place of any error of a URL in which the address may be the
// head of a password.
var errUnescaped = errors.New("an @ stands behind the address: in a user or password a / is written %2F, a ? %3F, a # %23")

func (u serverURL) withoutSecrets(err error) error {
	if u.ambiguous {
		return errUnescaped
	}
	return err
}

func parseURL(text string) (serverURL, error) {
	scheme, rest, found := strings.Cut(text, "://")
	switch scheme {
	case "redis", "rediss", "unix", "redis-sentinel", "rediss-sentinel":
	default:
		found = false
	}
	if !found {
		return serverURL{}, errors.New("the URL does not begin with redis://, rediss://, redis-sentinel://, " +
			"rediss-sentinel:// or unix://")
	}
	u := serverURL{URL: url.URL{Scheme: scheme}}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	u.ambiguous = strings.Contains(rest[end:], "@")
	return u, u.withoutSecrets(u.parse(rest[:end], rest[end:]))
}

// parse reads what comes behind the scheme: authority is [user:password@]address, and
// tail the path and the options.
func (u *serverURL) parse(authority, tail string) (err error) {
	addresses := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		addresses = authority[at+1:]
		if u.User, err = parseUser(authority[:at]); err != nil {
			return err
		}
	}
	if strings.Contains(tail, "#") {
		return errors.New("the URL has a #, behind which nothing may stand; in a password it is written %23")
	}
	path, query, _ := strings.Cut(tail, "?")
	if u.options, err = url.ParseQuery(query); err != nil {
		return errors.New("the options behind the ? are not percent-encoded, name=value and joined by &")
	}
	if u.Path, err = url.PathUnescape(path); err != nil {
		return errors.New("the path has a % without two hexadecimal digits behind it")
	}
	switch u.Scheme {
	case "unix":
		if addresses != "" || u.Path == "" {
			return errors.New("the path of the socket is missing: a URL of one is unix:///path/to/socket")
		}
		return nil
	case "redis-sentinel", "rediss-sentinel":
		u.Scheme = strings.TrimSuffix(u.Scheme, "-sentinel")
		for _, text := range strings.Split(addresses, ",") {
			address, err := parseAddress(text, defaultSentinelPort)
			if err != nil {
				return err
			}
			u.more = append(u.more, address)
		}
		u.Host, u.more = u.more[0], u.more[1:]
		master, db, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
		if master == "" {
			return errors.New("the name of the master is missing: redis-sentinel://host:port/NAME")
		}
		u.master, u.Path = master, "/"+db
	default:
		if strings.Contains(addresses, ",") {
			return errors.New("the URL has several addresses: those of Sentinels begin with redis-sentinel://, " +
				"and further nodes of a cluster are named by ?addr=host:port")
		}
		if u.Host, err = parseAddress(addresses, defaultPort); err != nil {
			return err
		}
	}
	if db := strings.TrimPrefix(u.Path, "/"); db != "" && !isDatabase(db) {
		return errors.New("the database behind the last / is not a number from 0 on")
	}
	if db := u.options.Get("db"); db != "" && !isDatabase(db) {
		return errors.New("the database of ?db= is not a number from 0 on")
	}
	return nil
}

func isDatabase(text string) bool {
	_, err := strconv.ParseUint(text, 10, 31)
	return err == nil
}

func parseUser(text string) (*url.Userinfo, error) {
	escapedName, escapedPassword, _ := strings.Cut(text, ":")
	name, errName := url.PathUnescape(escapedName)
	password, errPassword := url.PathUnescape(escapedPassword)
	if errName != nil || errPassword != nil {
		return nil, errors.New("the user or password has a % without two hexadecimal digits behind it: a % is written %25")
	}
	if password == "" {
		return url.User(name), nil
	}
	return url.UserPassword(name, password), nil
}

// parseAddress returns host:port, where text may lack the port.
func parseAddress(text, port string) (string, error) {
	host := text
	if colon := strings.LastIndexByte(text, ':'); colon > strings.LastIndexByte(text, ']') {
		host, port = text[:colon], text[colon+1:]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		var closed bool
		if host, closed = strings.CutSuffix(inner, "]"); !closed || net.ParseIP(host) == nil {
			return "", errors.New("the host is no IPv6 address between [ and ]")
		}
	} else if strings.ContainsAny(host, ":[]") {
		return "", errors.New("the host has a : or a bracket: an IPv6 address stands between [ and ]")
	}
	if host == "" {
		return "", errors.New("the host is missing")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || strings.ContainsRune("%<>\"\\^`{|}\x7f", r) }) {
		return "", errors.New("the host has a character that no host has")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("the port is not a number from 1 to 65,535")
	}
	return net.JoinHostPort(host, port), nil
}

// target hands the URL to go-redis, which knows the options.
func (u serverURL) target() (found target, err error) {
	if u.master != "" {
		found.failover, err = u.failover()
		return found, withoutPrefix(err)
	}
	u.RawQuery = u.options.Encode()
	found.single, err = redis.ParseURL(u.String())
	if found.noCluster = errors.New("it is reached by host and port alone"); u.Scheme != "unix" {
		found.cluster, found.noCluster = redis.ParseClusterURL(u.String())
	}
	found.noCluster = withoutPrefix(found.noCluster)
	switch {
	case err == nil || found.cluster != nil:
		return found, nil
	case u.options.Has("addr"):
		return found, found.noCluster
	}
	return found, withoutPrefix(err)
}

// failover writes the URL as go-redis has that of Sentinels: their own user comes first.
func (u serverURL) failover() (*redis.FailoverOptions, error) {
	if u.options.Has("addr") {
		return nil, errors.New("unexpected option: addr; Sentinels are host:port,host:port")
	}
	options := u.options
	user := url.UserPassword(options.Get("sentinel_username"), options.Get("sentinel_password"))
	options.Del("sentinel_username")
	options.Del("sentinel_password")
	for _, name := range []string{"username", "password", "master_name"} {
		if options.Has(name) {
			return nil, fmt.Errorf("unexpected option: %s", name)
		}
	}
	options.Set("username", u.User.Username())
	password, _ := u.User.Password()
	options.Set("password", password)
	options.Set("master_name", u.master)
	options["addr"] = u.more
	u.User, u.RawQuery = user, options.Encode()
	failover, err := redis.ParseFailoverURL(u.String())
	if err == nil && failover.TLSConfig != nil {
		failover.TLSConfig.ServerName = "" // each host has its own
	}
	return failover, err
}

// withoutPrefix takes the words of go-redis for its own.
func withoutPrefix(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "redis: "))
}
