package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
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
	master string // its address, where Sentinels have named it
	extra  []node // that go-redis does not know of
}

// about is what a server says of itself, to any user.
type about struct{ product, version, mode, role string }

// connect finds out by asking whether the URL is that of a cluster; one with
// several addresses, addr=..., must be.
func (t *tool) connect(ctx context.Context, access access) (*session, error) {
	logging.Disable() // the error is told, once
	target, err := t.target(ctx)
	if err != nil {
		return nil, usageError(err)
	}
	s := &session{}
	if err := s.dial(ctx, target); err != nil {
		if s.client != nil {
			s.client.Close()
		}
		return nil, err
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

func (s *session) dial(ctx context.Context, target target) (err error) {
	switch {
	case target.failover != nil:
		if s.master, err = findMaster(ctx, target.failover); err != nil {
			return err
		}
		s.client = redis.NewFailoverClient(target.failover)
	case target.single != nil:
		s.client = redis.NewClient(target.single)
	default:
		s.client = redis.NewClusterClient(target.cluster)
	}
	if s.about, err = ask(ctx, s.client); target.single == nil {
		return err
	}
	if s.about.mode == "sentinel" || s.about.mode == "" && isSentinel(ctx, *target.single) {
		return usageError(refuseSentinel(ctx, target.single))
	}
	if err != nil && strings.Contains(err.Error(), "DB index is out of range") {
		return usageError(fmt.Errorf("%s has no database %d", target.single.Addr, target.single.DB))
	}
	if err != nil || s.about.mode != "cluster" {
		return err
	}
	if target.cluster == nil {
		return usageError(fmt.Errorf("%s is a node of a cluster: %w", target.single.Addr, target.noCluster))
	}
	s.client.Close()
	s.client = redis.NewClusterClient(target.cluster)
	return nil
}

// ask asks with HELLO, which no ACL forbids. Of a server, or a proxy before it, that has
// no HELLO nothing is known.
func ask(ctx context.Context, client interface {
	Do(ctx context.Context, args ...any) *redis.Cmd
}) (about, error) {
	reply, err := client.Do(ctx, "HELLO").Result()
	if redis.HasErrorPrefix(err, "unknown command") {
		return about{}, nil
	}
	if err != nil {
		return about{}, err
	}
	facts := factsOf(reply)
	return about{facts["server"], facts["version"], facts["mode"], facts["role"]}, nil
}

// factsOf returns a map as either protocol has it.
func factsOf(reply any) map[string]string {
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
	return facts
}

// atLeast reports whether the server's version is this one or later.
func (a about) atLeast(major, minor int) bool {
	first, rest, _ := strings.Cut(a.version, ".")
	second, _, _ := strings.Cut(rest, ".")
	m, _ := strconv.Atoi(first)
	n, _ := strconv.Atoi(second)
	return m > major || m == major && n >= minor
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
		return node{client, cmp.Or(s.master, client.Options().Addr)}, nil
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
