package luatest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
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

// protocolError is what is wrong with what a client sent, as it is told.
type protocolError string

func (p protocolError) Error() string { return "luatest: protocol error: " + string(p) }

// farewell is how long a client has to read why it is not served any more.
const farewell = time.Second

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
		return 0, protocolError(fmt.Sprintf("expected '%c', got %q", prefix, head(text, 1)))
	}
	n, err := strconv.Atoi(text[1:])
	if err != nil || n < 0 || n > limit {
		return 0, protocolError("invalid length")
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
	var begun transaction
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.end(&begun)
	}()
	for {
		args, err := readCommand(in)
		var broken protocolError
		if errors.As(err, &broken) {
			out.add(AppendReply(nil, Error("ERR Protocol error: "+broken)))
			out.close()
			conn.SetWriteDeadline(time.Now().Add(farewell))
			writing.Wait()
		}
		if err != nil {
			break
		}
		out.add(AppendReply(nil, e.client(&begun, args)))
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
