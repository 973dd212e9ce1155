package differ

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// conn speaks RESP2 and keeps each reply as the bytes that arrived.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func newConn(c net.Conn) *conn { return &conn{c, bufio.NewReader(c)} }

// do sends the commands all at once and returns their replies.
func (c *conn) do(commands ...[]string) ([]string, error) {
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
