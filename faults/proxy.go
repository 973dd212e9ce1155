package faults

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// The directions of a connection, as toxiproxy names them.
const (
	requests = "upstream"
	replies  = "downstream"
)

// proxy stands between a client and a server, and does to what passes what it
// is told.
type proxy struct {
	*toxiproxy.Proxy
}

func newProxy(t *testing.T, upstream string) proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := proxy{toxiproxy.NewProxy(server, "redis", "127.0.0.1:0", upstream)}
	must(t, p.Start())
	t.Cleanup(p.Stop)
	return p
}

// client returns a client that goes through the proxy. The caller closes it.
func (p proxy) client(options redis.Options) *redis.Client {
	options.Addr = p.Listen
	return redis.NewClient(&options)
}

// poison has a toxic, with its attributes, work on all connections, those that
// are open too.
func (p proxy) poison(t *testing.T, kind, direction string, attributes map[string]int) {
	t.Helper()
	toxic, err := json.Marshal(map[string]any{"type": kind, "stream": direction, "attributes": attributes})
	must(t, err)
	_, err = p.Toxics.AddToxicJson(strings.NewReader(string(toxic)))
	must(t, err)
}

// heal takes all toxics away.
func (p proxy) heal() { p.Toxics.ResetToxics(ctx) }
