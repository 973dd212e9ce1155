package luatest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// AppendReply appends the RESP2 form of a reply, as Do returns it, to dst.
func AppendReply(dst []byte, reply any) []byte {
	switch r := reply.(type) {
	case nil:
		return append(dst, "$-1\r\n"...)
	case int64:
		dst = append(dst, ':')
		dst = strconv.AppendInt(dst, r, 10)
	case string:
		dst = append(dst, '$')
		dst = strconv.AppendInt(dst, int64(len(r)), 10)
		dst = append(dst, "\r\n"...)
		dst = append(dst, r...)
	case Status:
		dst = append(dst, '+')
		dst = append(dst, oneLine(string(r))...)
	case Error:
		dst = append(dst, '-')
		dst = append(dst, oneLine(string(r))...)
	case []any:
		if r == nil {
			return append(dst, "*-1\r\n"...)
		}
		dst = append(dst, '*')
		dst = strconv.AppendInt(dst, int64(len(r)), 10)
		dst = append(dst, "\r\n"...)
		for _, item := range r {
			dst = AppendReply(dst, item)
		}
		return dst
	default:
		panic(fmt.Sprintf("luatest: no RESP2 form of a %T", reply))
	}
	return append(dst, "\r\n"...)
}

// Limits on what a client may send, as Redis has them.
const (
	maxArguments     = 1 << 20
	maxArgumentBytes = 512 << 20
)

// readCommand reads one command: an array of bulk strings.
func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*', maxArguments)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r, '$', maxArgumentBytes)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, size+2)
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, err
		}
		args[i] = string(buf[:size])
	}
	return args, nil
}

func readLength(r *bufio.Reader, prefix byte, limit int) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	text := strings.TrimSuffix(line, "\r\n")
	if text == "" || text[0] != prefix {
		return 0, fmt.Errorf("luatest: protocol error: expected '%c', got %q", prefix, text)
	}
	n, err := strconv.Atoi(text[1:])
	if err != nil || n < 0 || n > limit {
		return 0, fmt.Errorf("luatest: protocol error: invalid length %q", text)
	}
	return n, nil
}

// serve runs the commands that arrive on conn, until it is closed.
func (e *Engine) serve(conn net.Conn) {
	defer conn.Close()
	out := newOutbox()
	var writing sync.WaitGroup
	writing.Add(1)
	go func() {
		defer writing.Done()
		out.drain(conn)
	}()
	in := bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			break
		}
		e.mu.Lock()
		reply := e.clientCommand(args)
		e.mu.Unlock()
		out.add(AppendReply(nil, reply))
	}
	// The client has gone; a write to it that is under way must not wait.
	conn.Close()
	out.close()
	writing.Wait()
}

// outbox holds replies until the client reads them. A pipe has no buffer of its
// own: without one, a client still writing its pipeline and an engine already
// replying to it would wait for each other.
type outbox struct {
	mu     sync.Mutex
	filled *sync.Cond
	bytes  []byte
	closed bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.filled = sync.NewCond(&o.mu)
	return o
}

func (o *outbox) add(p []byte) {
	o.mu.Lock()
	o.bytes = append(o.bytes, p...)
	o.mu.Unlock()
	o.filled.Signal()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.filled.Signal()
}

// drain writes what is added, until the outbox is closed or conn fails.
func (o *outbox) drain(conn net.Conn) {
	for {
		o.mu.Lock()
		for len(o.bytes) == 0 && !o.closed {
			o.filled.Wait()
		}
		p, closed := o.bytes, o.closed
		o.bytes = nil
		o.mu.Unlock()
		if closed {
			return
		}
		if _, err := conn.Write(p); err != nil {
			return
		}
	}
}
