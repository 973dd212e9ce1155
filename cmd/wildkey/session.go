package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/wildkey/wildkey"
	"github.com/wildkey/wildkey/fetch"
)

// session is a connection to a server or a cluster, and the namespace there.
type session struct {
	client redis.UniversalClient
	cache  *wildkey.Cache
	voids  *fetch.Fetcher // writes and deletes as the cache does, and voids leases
	layout wildkey.Layout
	about  about
	extra  []node // that go-redis does not know of
}

// about is what a server says of itself, to any user.
type about struct{ product, version, mode, role string }

// connect finds out by asking whether the URL is that of a cluster; one with
// several addresses, addr=..., must be.
func (t *tool) connect(ctx context.Context, access access) (*session, error) {
	logging.Disable() // the error is told, once
	s := &session{}
	options, err := redis.ParseURL(t.url)
	if err == nil {
		s.client = redis.NewClient(options)
		if s.about, err = ask(ctx, s.client); err != nil {
			return nil, err
		}
	}
	if err != nil || s.about.mode == "cluster" {
		cluster, errCluster := redis.ParseClusterURL(t.url)
		if errCluster != nil {
			return nil, usageError(withoutSecrets(cmp.Or(err, errCluster)))
		}
		if s.client != nil {
			s.client.Close()
		}
		s.client = redis.NewClusterClient(cluster)
		if err != nil { // else the node of the URL has answered, which any other might not
			if s.about, err = ask(ctx, s.client); err != nil {
				return nil, err
			}
		}
	}
	s.cache, err = wildkey.New(s.client, wildkey.Options{
		Namespace:     t.namespace,
		Shards:        t.shards,
		ShardSegments: t.shardSegments,
		Preloaded:     t.preloaded,
		LeaveStale:    access == reading,
	})
	if err != nil {
		return nil, err
	}
	s.layout = s.cache.Layout()
	s.voids, err = fetch.New(s.cache, fetch.Options{})
	return s, err
}

// ask asks with HELLO, which no ACL forbids.
func ask(ctx context.Context, client interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}) (about, error) {
	reply, err := client.Do(ctx, "HELLO").Result()
	if err != nil {
		return about{}, fmt.Errorf("connecting: %w", err)
	}
	facts := map[string]string{}
	switch reply := reply.(type) {
	case map[any]any:
		for name, value := range reply {
			facts[fmt.Sprint(name)] = fmt.Sprint(value)
		}
	case []any: // RESP2
		for pair := range slices.Chunk(reply, 2) {
			facts[fmt.Sprint(pair[0])] = fmt.Sprint(pair[len(pair)-1])
		}
	}
	return about{facts["server"], facts["version"], facts["mode"], facts["role"]}, nil
}

// atLeast reports whether the server's version is this one or later.
func (a about) atLeast(major, minor int) bool {
	first, rest, _ := strings.Cut(a.version, ".")
	second, _, _ := strings.Cut(rest, ".")
	m, _ := strconv.Atoi(first)
	n, _ := strconv.Atoi(second)
	return m > major || m == major && n >= minor
}

// withoutSecrets keeps the URL, and the password in it, out of an error.
func withoutSecrets(err error) error {
	var parsing *url.Error
	if errors.As(err, &parsing) {
		return errors.New("the Redis URL cannot be read: it is not redis:// or rediss://[user:password@]host:port/db")
	}
	return err
}

// node is one server: the only one, or a master or replica of the cluster.
type node struct {
	*redis.Client
	address string
}

// nodeOf returns the node that has the records of a shard.
func (s *session) nodeOf(ctx context.Context, tag string) (node, error) {
	switch client := s.client.(type) {
	case *redis.Client:
		return node{client, client.Options().Addr}, nil
	case *redis.ClusterClient:
		master, err := client.MasterForKey(ctx, tag)
		if err != nil {
			return node{}, err
		}
		return node{master, master.Options().Addr}, nil
	}
	return node{}, fmt.Errorf("no node of a %T is known", s.client)
}

// home is a node and those shards of the namespace that it has.
type home struct {
	node
	shards []int
	tags   []string
}

// homes returns the nodes that have the namespace, by their first shard.
func (s *session) homes(ctx context.Context) ([]home, error) {
	var homes []home
	for shard := range s.layout.Shards() {
		tag := s.layout.Tag(shard)
		node, err := s.nodeOf(ctx, tag)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(homes, func(h home) bool { return h.address == node.address })
		if i < 0 {
			i, homes = len(homes), append(homes, home{node: node})
		}
		homes[i].shards = append(homes[i].shards, shard)
		homes[i].tags = append(homes[i].tags, tag)
	}
	return homes, nil
}

// nodes returns all nodes, or the masters that have slots, by address.
func (s *session) nodes(ctx context.Context, mastersOnly bool) ([]node, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		only, err := s.nodeOf(ctx, "")
		return []node{only}, err
	}
	var mu sync.Mutex // the nodes are visited at the same time
	var nodes []node
	visit := cluster.ForEachShard
	if mastersOnly {
		visit = cluster.ForEachMaster
	}
	err := visit(ctx, func(_ context.Context, client *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node{client, client.Options().Addr})
		return nil
	})
	if err == nil && !mastersOnly {
		var others []node
		others, err = s.withoutSlots(ctx, cluster, nodes)
		nodes = append(nodes, others...)
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.address, b.address) })
	return nodes, err
}

// withoutSlots returns the nodes of a cluster that no slot leads to, beside those
// that one does: masters that have just joined, and what has failed.
func (s *session) withoutSlots(ctx context.Context, cluster *redis.ClusterClient, others []node) ([]node, error) {
	//lint:ignore SA1019 CLUSTER SHARDS came with Redis 7.0.
	slots, err := cluster.ClusterSlots(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("CLUSTER SLOTS: %w", err)
	}
	known := map[string]bool{}
	for _, slot := range slots {
		for _, node := range slot.Nodes {
			known[node.ID] = true
		}
	}
	list, err := cluster.ClusterNodes(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("CLUSTER NODES: %w", err)
	}
	var nodes []node
	for _, line := range strings.Split(list, "\n") {
		fields := strings.Fields(line) // ID, address, flags and on
		if len(fields) < 3 || known[fields[0]] ||
			strings.Contains(fields[2], "handshake") || strings.Contains(fields[2], "noaddr") {
			continue
		}
		nodes = append(nodes, s.nodeAt(addressOf(fields[1]), others[0]))
	}
	return nodes, nil
}

// addressOf returns the address in a field of CLUSTER NODES, ip:port@bus-port,hostname
// and more; by its name, if the node announces one.
func addressOf(field string) string {
	address, rest, _ := strings.Cut(field, "@")
	colon := max(0, strings.LastIndexByte(address, ':'))
	host, port := address[:colon], address[min(colon+1, len(address)):]
	if words := strings.Split(rest, ","); len(words) > 1 && words[1] != "" && !strings.Contains(words[1], "=") {
		host = words[1]
	}
	return net.JoinHostPort(host, port)
}

// nodeAt returns the node at an address that go-redis does not know, with the
// settings of another.
func (s *session) nodeAt(address string, other node) node {
	i := slices.IndexFunc(s.extra, func(n node) bool { return n.address == address })
	if i < 0 {
		options := *other.Options()
		options.Addr = address
		i, s.extra = len(s.extra), append(s.extra, node{redis.NewClient(&options), address})
	}
	return s.extra[i]
}

func (s *session) close() {
	for _, node := range s.extra {
		node.Close()
	}
	s.client.Close()
}
