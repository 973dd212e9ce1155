package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

// TestURL reads right URLs, and says of wrong ones what is wrong, without what may be
// a password.
func TestURL(t *testing.T) {
	const unescaped = "an @ stands behind the address"
	for _, test := range []struct{ url, want string }{
		{"redis://host", "host:6379/0"},
		{"redis://host:1/3?read_timeout=10s", "host:1/3"},
		{"redis://host/?db=2", "host:6379/2"},
		{"redis://[::1]:7/1", "[::1]:7/1"},
		{"redis://[::1]", "[::1]:6379/0"},
		{"redis://:secret@host", "host:6379/0 secret"},
		{"redis://ann:secret@host", "host:6379/0 ann secret"},
		{"redis://ann:s%40%2F@e@host:1", "host:1/0 ann s@/@e"},
		{"rediss://host", "host:6379/0 tls"},
		{"redis://a:1?addr=b:2", "cluster a:1,b:2"},
		{"redis://a:1?max_redirects=2", "cluster a:1"},
		{"unix:///tmp/a.sock?db=1", "/tmp/a.sock/1"},
		{"redis-sentinel://a:1,b,[::1]:2/main/3", "sentinel a:1,b:26379,[::1]:2 main/3"},
		{"redis-sentinel://ann:secret@a/main?sentinel_username=bob&sentinel_password=other",
			"sentinel a:26379 main/0 ann secret, bob other"},
		{"rediss-sentinel://a/main", "sentinel a:26379 main/0 tls"},

		{"host:6379", "the URL does not begin with redis://"},
		{"redis:/host", "the URL does not begin with redis://"},
		{"http://secret@host", "the URL does not begin with redis://"},
		{"redis:///0", "the host is missing"},
		{"redis://:6379", "the host is missing"},
		{"redis://ann:secret@/0", "the host is missing"},
		{"redis://host:", "the port is not a number"},
		{"redis://host:0", "the port is not a number"},
		{"redis://host:65536", "the port is not a number"},
		{"redis://ann:secret", "the port is not a number"},
		{"redis://ann:secret/x@host", unescaped},
		{"redis://ann:1/secret@host", unescaped},
		{"redis://ann:1?secret@host", unescaped},
		{"redis://ann:1#secret@host", unescaped},
		{"redis://ann:1?secret=x@host", unescaped},
		{"redis://::1:6379", "the host has a : or a bracket"},
		{"redis://[::1:6379", "the host is no IPv6 address"},
		{"redis://[host]", "the host is no IPv6 address"},
		{"redis://ho st", "the host has a character"},
		{"redis://h%6fst", "the host has a character"},
		{"redis://a,b", "the URL has several addresses"},
		{"redis://host/x", "the database behind the last / is not a number"},
		{"redis://host/-1", "the database behind the last / is not a number"},
		{"redis://host/1/2", "the database behind the last / is not a number"},
		{"redis://host/%zz", "the path has a %"},
		{"redis://host?db=x", "the database of ?db= is not a number"},
		{"redis://host?x=%zz", "the options behind the ? are not"},
		{"redis://host?password=secret", "unexpected option: password"},
		{"redis://host?addr=b:2&x=1", "unexpected option: x"},
		{"redis://host?read_timeout=x", "invalid read_timeout duration"},
		{"redis://host#main", "the URL has a #"},
		{"redis://ann:secret%@host", "the user or password has a %"},
		{"redis://%:secret@host", "the user or password has a %"},
		{"redis://ann@host", "$REDIS_URL names a user without a password"},
		{"unix://", "the path of the socket is missing"},
		{"unix://tmp/a.sock", "the path of the socket is missing"},
		{"redis-sentinel://a", "the name of the master is missing"},
		{"redis-sentinel:///main", "the host is missing"},
		{"redis-sentinel://a,/main", "the host is missing"},
		{"redis-sentinel://a/main/x", "the database behind the last / is not a number"},
		{"redis-sentinel://a/main?addr=b", "unexpected option: addr"},
		{"redis-sentinel://a/main?password=secret", "unexpected option: password"},
		{"redis-sentinel://a/main?x=secret", "unexpected option: x"},
	} {
		t.Setenv("REDIS_URL", test.url)
		t.Setenv("REDISCLI_AUTH", "")
		target, err := newTool(nil, io.Discard, io.Discard).target(context.Background())
		got := target.String()
		if err != nil {
			got = err.Error()
			if !strings.HasPrefix(got, "$REDIS_URL") || strings.Contains(got, "secret") {
				t.Errorf("%s: error %q lacks $REDIS_URL, or has the password", test.url, got)
			}
			got = strings.TrimPrefix(got, "$REDIS_URL: ")
			got = got[:min(len(got), len(test.want))]
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q (%v)", test.url, got, test.want, err)
		}
	}
}

// String has all that a URL says.
func (found target) String() string {
	var b strings.Builder
	word := func(words ...string) {
		for _, word := range words {
			if word != "" {
				b.WriteString(" " + word)
			}
		}
	}
	switch {
	case found.failover != nil:
		o := found.failover
		word("sentinel", strings.Join(o.SentinelAddrs, ","), o.MasterName+"/"+string(rune('0'+o.DB)), o.Username, o.Password)
		if o.SentinelUsername != "" {
			word(",", o.SentinelUsername, o.SentinelPassword)
		}
		if o.TLSConfig != nil {
			word("tls")
		}
	case found.single != nil:
		o := found.single
		word(o.Addr+"/"+string(rune('0'+o.DB)), o.Username, o.Password)
		if o.TLSConfig != nil {
			word("tls")
		}
	case found.cluster != nil:
		word("cluster", strings.Join(found.cluster.Addrs, ","))
	}
	return strings.ReplaceAll(strings.TrimPrefix(b.String(), " "), " ,", ",")
}

// TestPasswordFrom takes the password from where nobody sees it.
func TestPasswordFrom(t *testing.T) {
	for _, test := range []struct{ name, flag, variable, auth, want string }{
		{"none", "redis://host", "", "", "host:6379/0"},
		{"the environment's URL", "", "redis://ann:secret@host", "other", "host:6379/0 ann secret"},
		{"REDISCLI_AUTH", "redis://host", "", "secret", "host:6379/0 secret"},
		{"of a user", "redis://ann@host", "", "secret", "host:6379/0 ann secret"},
		{"of the master alone", "redis-sentinel://ann@a/main", "", "secret", "sentinel a:26379 main/0 ann secret"},
		{"the flag comes first", "redis://one", "redis://:x@two", "", "one:6379/0"},
		{"never the flag", "redis://:secret@host", "", "", "--url has a password, which others can see"},
		{"nor for the default user", "redis://:secret@host", "", "other", "--url has a password, which others can see"},
		{"nor that of Sentinels", "redis-sentinel://a/main?sentinel_password=secret", "", "", "--url has a password, which others can see"},
		{"nobody's", "redis://ann@host", "", "", "--url names a user without a password"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("REDIS_URL", test.variable)
			t.Setenv("REDISCLI_AUTH", test.auth)
			tool := newTool(nil, io.Discard, io.Discard)
			tool.url = test.flag
			target, err := tool.target(context.Background())
			got := target.String()
			if err != nil {
				got = err.Error()[:min(len(err.Error()), len(test.want))]
			}
			if got != test.want {
				t.Errorf("%q, want %q (%v)", got, test.want, err)
			}
		})
	}
}
