package main

import (
	"context"
	"net"
	"sync/atomic"
)

// wire counts what the connections of one client carry.
type wire struct {
	trips, sent, received atomic.Int64
}

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: connection, wire: w}, nil
}

// countedConn is one connection. A client uses it for one call after another,
// so a write that follows a read, however many pieces it comes in, begins a
// round trip.
type countedConn struct {
	net.Conn
	wire    *wire
	writing atomic.Bool
}

func (c *countedConn) Write(p []byte) (int, error) {
	if !c.writing.Swap(true) {
		c.wire.trips.Add(1)
	}
	n, err := c.Conn.Write(p)
	c.wire.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.writing.Store(false)
	c.wire.received.Add(int64(n))
	return n, err
}
