package redisserver

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Move is a slot on its way from one node to another, as redis-cli moves it.
type Move struct {
	From, To *redis.Client
	Slot     int64
	toID     string
	others   []*redis.Client
	cluster  *Cluster
}

// BeginMove opens the slot of a key: from its owner to another master.
func (c *Cluster) BeginMove(t testing.TB, key string, to *Server) *Move {
	t.Helper()
	owner, err := c.Owner(key)
	if err != nil {
		t.Fatal(err)
	}
	if to == owner {
		t.Fatal("the slot is there already")
	}
	m := &Move{From: owner.Client(t), To: to.Client(t), cluster: c}
	m.Slot = m.From.ClusterKeySlot(context.Background(), key).Val()
	m.toID = must(t, m.To, "CLUSTER", "MYID").(string)
	for _, node := range c.Nodes {
		if node != owner && node != to {
			m.others = append(m.others, node.Client(t))
		}
	}
	must(t, m.To, "CLUSTER", "SETSLOT", m.Slot, "IMPORTING", must(t, m.From, "CLUSTER", "MYID"))
	must(t, m.From, "CLUSTER", "SETSLOT", m.Slot, "MIGRATING", m.toID)
	return m
}

// Migrate moves keys.
func (m *Move) Migrate(t testing.TB, keys ...string) {
	t.Helper()
	host, port, err := net.SplitHostPort(m.To.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	args := []any{"MIGRATE", host, port, "", 0, 5000, "KEYS"}
	for _, key := range keys {
		args = append(args, key)
	}
	if reply := must(t, m.From, args...); reply != "OK" {
		t.Fatalf("MIGRATE: %v", reply)
	}
}

// End moves what is left, closes the slot, and waits until replicas have heard of
// it too, which else may name the former owner to who asks next.
func (m *Move) End(t testing.TB) {
	t.Helper()
	for {
		left := m.From.ClusterGetKeysInSlot(context.Background(), int(m.Slot), 100).Val()
		if len(left) == 0 {
			break
		}
		m.Migrate(t, left...)
	}
	for _, node := range append([]*redis.Client{m.To, m.From}, m.others...) {
		if err := node.Do(context.Background(), "CLUSTER", "SETSLOT", m.Slot, "NODE", m.toID).Err(); err != nil &&
			!strings.Contains(err.Error(), "SETSLOT only with masters") {
			t.Fatal(err)
		}
	}
	if err := m.cluster.untilAgreed(); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, client *redis.Client, args ...any) any {
	t.Helper()
	reply, err := client.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// BeginAtomicMove has the slot of a key moved by the servers themselves, which
// change its owner once all of it has arrived, and returns a function that
// reports whether they are still at it. It skips the test of servers that cannot.
func (c *Cluster) BeginAtomicMove(t testing.TB, key string, to *Server) (moving func() bool) {
	t.Helper()
	owner, err := c.Owner(key)
	if err != nil {
		t.Fatal(err)
	}
	from, into := owner.Client(t), to.Client(t)
	has := func(subcommand string) bool {
		return must(t, from, "COMMAND", "INFO", "cluster|"+subcommand).([]any)[0] != nil
	}
	slot := from.ClusterKeySlot(context.Background(), key).Val()
	var moves func() any
	switch {
	case has("migrateslots"): // Valkey
		must(t, from, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", must(t, into, "CLUSTER", "MYID"))
		moves = func() any { return must(t, from, "CLUSTER", "GETSLOTMIGRATIONS") }
	case has("migration"): // Redis
		must(t, into, "CLUSTER", "MIGRATION", "IMPORT", slot, slot)
		moves = func() any { return must(t, into, "CLUSTER", "MIGRATION", "STATUS", "ALL") }
	default:
		t.Skipf("%s cannot move a slot atomically", c.program)
	}
	return func() bool {
		move := moves().([]any)[0].(map[any]any)
		switch move["state"] {
		case "success", "completed":
			return false
		case "failed", "cancelled", "canceled":
			t.Fatalf("the move ended so: %v", move)
		}
		return true
	}
}
