package redisserver

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterOptions are those of each node. The timeout is short, so that a
// replica soon takes the place of a master that is gone, and long enough for a
// machine that is busy with something else.
var clusterOptions = []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "3000"}

// clusterPatience is how long a cluster may take to agree on anything.
const clusterPatience = 5 * time.Minute

// Cluster is a Redis Cluster of servers on this machine.
type Cluster struct {
	Nodes []*Server // the masters first, as they were when it was made

	program Program
	options []string
}

// EachCluster is Each for a cluster of so many masters, each with so many
// replicas. It needs redis-cli, which is part of every Redis and Valkey.
func EachCluster(t *testing.T, masters, replicas int, test func(t *testing.T, c *Cluster), args ...string) {
	t.Helper()
	EachProgram(t, func(t *testing.T, program Program) {
		cluster, err := program.RunCluster(masters, replicas, args...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		test(t, cluster)
	})
}

// RunCluster starts a cluster and waits until it serves every slot and has all
// its replicas. The caller closes it.
func (p Program) RunCluster(masters, replicas int, args ...string) (*Cluster, error) {
	c := &Cluster{program: p, options: append(slices.Clone(clusterOptions), args...)}
	create := []string{"--cluster", "create"}
	for range masters * (1 + replicas) {
		node, err := c.start()
		if err != nil {
			c.Close()
			return nil, err
		}
		create = append(create, node.Addr)
	}
	create = append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")
	err := c.cli(create...)
	if err == nil {
		err = c.WaitUntilWhole(masters, replicas)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start() (*Server, error) {
	node, err := c.program.Run(c.options...)
	if err == nil {
		c.Nodes = append(c.Nodes, node)
	}
	return node, err
}

// cli runs the server's redis-cli, the cluster's own tool.
func (c *Cluster) cli(args ...string) error {
	path, err := c.program.cli()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*clusterPatience)
	defer cancel()
	output, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		const enough = 2_000 // a line a slot comes before what went wrong
		return fmt.Errorf("%s %s: %w\n%s", path, strings.Join(args, " "), err, output[max(0, len(output)-enough):])
	}
	return nil
}

// Add starts one more master, which has no slot yet.
func (c *Cluster) Add() (*Server, error) {
	node, err := c.start()
	if err != nil {
		return nil, err
	}
	if err := c.untilAgreed(); err != nil {
		return nil, err
	}
	if err := c.cli("--cluster", "add-node", node.Addr, c.running()[0].Addr); err != nil {
		return nil, err
	}
	return node, c.eventually("every node knows the new one", func(ctx context.Context, _ *redis.Client) bool {
		return !slices.ContainsFunc(c.running(), func(other *Server) bool { return !other.knows(ctx, node) }) &&
			node.serves(ctx) && c.agrees()
	})
}

// knows reports whether a node has shaken hands with another.
func (s *Server) knows(ctx context.Context, other *Server) bool {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	for _, line := range strings.Split(client.ClusterNodes(ctx).Val(), "\n") {
		if strings.Contains(line, other.Addr) && !strings.Contains(line, "handshake") {
			return true
		}
	}
	return false
}

// serves reports whether a node takes part in the cluster: a new one waits for a while.
func (s *Server) serves(ctx context.Context) bool {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	return strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok")
}

// Reshard moves so many slots, with all that is in them, from one master to
// another, as redis-cli --cluster reshard does: while the cluster serves.
func (c *Cluster) Reshard(from, to *Server, slots int) error {
	ids := make([]string, 2)
	for i, node := range []*Server{from, to} {
		var err error
		if ids[i], err = node.clusterID(); err != nil {
			return err
		}
	}
	if err := c.untilAgreed(); err != nil {
		return err
	}
	return c.cli("--cluster", "reshard", c.running()[0].Addr, "--cluster-from", ids[0], "--cluster-to", ids[1],
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes")
}

func (s *Server) clusterID() (string, error) {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	return client.Do(context.Background(), "CLUSTER", "MYID").Text()
}

// Owner returns the node that is now the master of a key's slot.
func (c *Cluster) Owner(key string) (*Server, error) {
	client := c.client()
	defer client.Close()
	master, err := client.MasterForKey(context.Background(), key)
	if err != nil {
		return nil, err
	}
	addr := master.Options().Addr
	i := slices.IndexFunc(c.Nodes, func(node *Server) bool { return node.Addr == addr })
	if i < 0 {
		return nil, fmt.Errorf("no node of this cluster has the address %s", addr)
	}
	return c.Nodes[i], nil
}

// WaitUntilWhole waits until every slot is served, by so many masters, each of
// which has its replicas, in step with it.
func (c *Cluster) WaitUntilWhole(masters, replicas int) error {
	return c.eventually("the cluster is whole", func(ctx context.Context, client *redis.Client) bool {
		// Each node finds out for itself, and refuses calls until it has.
		if slices.ContainsFunc(c.running(), func(node *Server) bool { return !node.serves(ctx) }) ||
			!strings.Contains(client.ClusterInfo(ctx).Val(), fmt.Sprintf("cluster_size:%d\r", masters)) {
			return false
		}
		linked, listed := 0, 0
		for _, node := range c.Nodes {
			linked += node.replicasInStep(ctx)
			listed += node.replicasListed(ctx)
		}
		return linked == masters*replicas && listed == len(c.running())*masters*replicas && c.agrees()
	})
}

// WaitUntilServed waits until another node than gone is the master of a key's slot.
func (c *Cluster) WaitUntilServed(key string, gone *Server) error {
	return c.eventually("another master has taken over", func(context.Context, *redis.Client) bool {
		owner, err := c.Owner(key)
		return err == nil && owner != gone
	})
}

// replicasInStep is how many replicas have this master's data.
func (s *Server) replicasInStep(ctx context.Context) int {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	return strings.Count(client.Info(ctx, "replication").Val(), "state=online")
}

// replicasListed is how many replicas a client learns of that asks this node.
func (s *Server) replicasListed(ctx context.Context) int {
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer client.Close()
	replicas, slots := map[string]bool{}, redis.NewClusterSlotsCmd(ctx, "CLUSTER", "SLOTS") // what go-redis asks for
	if err := client.Process(ctx, slots); err != nil {
		return 0
	}
	for _, slots := range slots.Val() {
		for _, node := range slots.Nodes[1:] {
			replicas[node.Addr] = true
		}
	}
	return len(replicas)
}

// agrees reports whether all nodes that run say the same of the slots.
func (c *Cluster) agrees() bool {
	return c.cli("--cluster", "check", c.running()[0].Addr) == nil
}

// untilAgreed waits until redis-cli, which changes nothing before, finds that all
// nodes say the same: a node hears by gossip of what others were told.
func (c *Cluster) untilAgreed() error {
	return c.eventually("the nodes agree", func(context.Context, *redis.Client) bool { return c.agrees() })
}

// running returns the nodes that have not been killed.
func (c *Cluster) running() []*Server {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(node *Server) bool {
		select {
		case <-node.exited:
			return true
		default:
			return false
		}
	})
}

func (c *Cluster) eventually(what string, holds func(context.Context, *redis.Client) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterPatience)
	defer cancel()
	for {
		client := redis.NewClient(&redis.Options{Addr: c.running()[0].Addr, MaxRetries: -1})
		ok := holds(ctx, client)
		client.Close()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not so after %s: %s", clusterPatience, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	return addrs
}

func (c *Cluster) client() *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
}

// Client returns a client of the cluster, closed when the test ends; options,
// if there is one, changes its settings.
func (c *Cluster) Client(tb testing.TB, options func(*redis.ClusterOptions)) *redis.ClusterClient {
	tb.Helper()
	settings := &redis.ClusterOptions{Addrs: c.Addrs()}
	if options != nil {
		options(settings)
	}
	client := redis.NewClusterClient(settings)
	tb.Cleanup(func() { client.Close() })
	return client
}

// Close ends all nodes.
func (c *Cluster) Close() {
	for _, node := range c.Nodes {
		node.Close()
	}
}
