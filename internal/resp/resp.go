// Package resp sends commands and keeps the replies as the bytes that arrive.
package resp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Conn is a connection that speaks RESP2.
type Conn struct {
	net.Conn
	in *bufio.Reader
}

// New speaks over c.
func New(c net.Conn) *Conn { return &Conn{c, bufio.NewReader(c)} }

// Dial connects to a server.
func Dial(addr string) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return New(c), nil
}

// Do sends the commands all at once and returns their replies.
func (c *Conn) Do(commands ...[]string) ([]string, error) {
	var request []byte
	for _, args := range commands {
		request = fmt.Appendf(request, "*%d\r\n", len(args))
		for _, arg := range args {
			request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	replies := make([]string, len(commands))
	for i := range replies {
		var err error
		if replies[i], err = readReply(c.in); err != nil {
			return nil, fmt.Errorf("%.200q: %w", commands[i], err)
		}
	}
	return replies, nil
}

func readReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$':
		if n < 0 {
			return line, nil
		}
		body := make([]byte, n+2)
		_, err := io.ReadFull(in, body)
		return line + string(body), err
	case '*':
		for range n {
			item, err := readReply(in)
			if err != nil {
				return "", err
			}
			line += item
		}
	}
	return line, nil
}
