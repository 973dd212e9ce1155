package redisserver

import (
	"context"
	"slices"
	"testing"
	"time"
)

// TestServer is about what a server keeps over what is done to it.
func TestServer(t *testing.T) {
	ctx := context.Background()
	Each(t, func(t *testing.T, s *Server) {
		client := s.Client(t)
		if err := client.Set(ctx, "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if reply, err := client.Get(short, "key").Result(); err == nil {
			t.Errorf("a server that is paused says %q", reply)
		}
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if reply, err := client.Get(ctx, "key").Result(); reply != "value" {
			t.Errorf("a server that has been paused says %q, %v", reply, err)
		}
		s.Kill()
		if reply, err := client.Get(ctx, "key").Result(); err == nil {
			t.Errorf("a server that is gone says %q", reply)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if reply, err := client.Get(ctx, "key").Result(); reply != "value" {
			t.Errorf("a server that has been killed says %q, %v", reply, err)
		}
	}, "--appendonly", "yes", "--appendfsync", "always")
}

// TestCluster has a master killed, and its slots moved.
func TestCluster(t *testing.T) {
	ctx := context.Background()
	EachCluster(t, 3, 1, func(t *testing.T, c *Cluster) {
		client := c.Client(t, nil)
		if err := client.Set(ctx, "key", "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitUntilWhole(3, 1); err != nil {
			t.Fatal(err)
		}
		owner, err := c.Owner("key")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(c.Nodes[:3], owner) {
			t.Errorf("%s has the slot, which was no master", owner.Addr)
		}
		owner.Kill()
		if err := c.WaitUntilServed("key", owner); err != nil {
			t.Fatal(err)
		}
		if err := owner.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitUntilWhole(3, 1); err != nil {
			t.Fatal(err)
		}
		second, err := c.Owner("key")
		if err != nil || second == owner {
			t.Errorf("%s has the slot after its death, %v", second.Addr, err)
		}
		added, err := c.Add()
		if err != nil {
			t.Fatal(err)
		}
		// Not all: Valkey refuses the last slots of a node whose replica leaves it meanwhile.
		if err := c.Reshard(second, added, 3000); err != nil {
			t.Fatal(err)
		}
		third, err := c.Owner("key")
		if err != nil || third != added {
			t.Errorf("%s has the slot, not the node that it was moved to, %v", third.Addr, err)
		}
		if reply, err := client.Get(ctx, "key").Result(); reply != "value" {
			t.Errorf("the cluster says %q, %v", reply, err)
		}
	})
}
