package luatest

import (
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is a simple-string reply, such as OK.
type Status string

// Error is an error reply: its text, without the leading '-'.
type Error string

// Error returns the text of the reply.
func (e Error) Error() string { return string(e) }

// RedisError makes an Error a redis.Error of go-redis, as
// redis.HasErrorPrefix and redis.IsOOMError look for one.
func (e Error) RedisError() {}

// Call is one command that an Engine was given.
type Call struct {
	Script string   // SHA-1 of the script that called, "" when a client did
	Args   []string // the command's name, as it was spelled, and its arguments
}

// Keys returns the arguments that are keys, by the command's key positions.
// An unknown command has none.
func (c Call) Keys() []string {
	cmd, refused := lookup(c.Args)
	if refused != "" {
		return nil
	}
	return cmd.keysOf(c.Args)
}

// traceLimit bounds what a long-lived Engine keeps of its trace.
const traceLimit = 1 << 16

// Engine is one in-memory Redis with database 0 only. It is safe for
// concurrent use; commands run one at a time.
type Engine struct {
	mu         sync.Mutex
	keys       *keyspace
	scripts    map[string]*script
	memoryFull bool
	maxMemory  int64
	trace      []Call
	sandbox    *sandbox // made by the first script that runs

	connMu sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	served sync.WaitGroup
}

// New returns an empty Engine. Its clock stands at 2024-01-01T00:00:00Z and
// moves only when SetNow or Advance moves it.
func New() *Engine {
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	return &Engine{
		keys:    newKeyspace(start),
		scripts: map[string]*script{},
		conns:   map[net.Conn]struct{}{},
	}
}

// Do runs one command as a client would, and returns its reply: nil, an int64,
// a string, a Status, an Error, or an []any of these.
func (e *Engine) Do(args ...string) any {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.clientCommand(slices.Clone(args))
}

// Now returns the time on the engine's clock.
func (e *Engine) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys.now
}

// SetNow sets the engine's clock.
func (e *Engine) SetNow(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys.now = t
}

// Advance moves the engine's clock on by d.
func (e *Engine) Advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys.now = e.keys.now.Add(d)
}

// SetMemoryFull makes the engine behave, or stop behaving, as if used memory
// had passed maxmemory under the noeviction policy.
func (e *Engine) SetMemoryFull(full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.memoryFull = full
}

// Trace returns the commands since the last ResetTrace, in order, both those
// that clients sent and those that scripts called, refused ones included. Of a
// longer trace it has at least the last 65,536.
func (e *Engine) Trace() []Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.trace)
}

// ResetTrace forgets the commands so far.
func (e *Engine) ResetTrace() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trace = nil
}

// Clone returns an independent Engine with the same keyspace, clock, loaded
// scripts and memory state, and with neither connections nor trace.
func (e *Engine) Clone() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := New()
	c.keys = e.keys.clone()
	for digest, s := range e.scripts {
		c.scripts[digest] = s
	}
	c.memoryFull, c.maxMemory = e.memoryFull, e.maxMemory
	return c
}

// Dump returns the keyspace as text, the same for equal keyspaces: the keys in
// byte order, each with its type, its value and the millisecond at which it
// expires. Keys that have expired are left out.
func (e *Engine) Dump() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys.dump()
}

// Close ends every connection and waits for the goroutines that served them.
// Do goes on working; the clients do not.
func (e *Engine) Close() error {
	e.connMu.Lock()
	e.closed = true
	var errs []error
	for conn := range e.conns {
		errs = append(errs, conn.Close())
	}
	e.connMu.Unlock()
	e.served.Wait()
	return errors.Join(errs...)
}

func (e *Engine) record(digest string, args []string) {
	if len(e.trace) == 2*traceLimit {
		e.trace = append([]Call(nil), e.trace[traceLimit:]...)
	}
	e.trace = append(e.trace, Call{Script: digest, Args: args})
}

const (
	errOOM       Error = "OOM command not allowed when used memory > 'maxmemory'."
	errWrongType Error = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errSyntax    Error = "ERR syntax error"
	errNotInt    Error = "ERR value is not an integer or out of range"
	errNotFloat  Error = "ERR value is not a valid float"
	errCursor    Error = "ERR invalid cursor"
)

// clientCommand runs one command that came from a client.
func (e *Engine) clientCommand(args []string) any {
	if len(args) == 0 {
		return Error("ERR unknown command '', with args beginning with: ")
	}
	e.record("", args)
	cmd, refused := lookup(args)
	if refused != "" {
		return refused
	}
	if cmd.flags&denyOOM != 0 && e.memoryFull {
		return errOOM
	}
	return cmd.run(e, args)
}

// scriptRun is one execution of a script.
type scriptRun struct {
	digest   string
	readOnly bool
	wrote    bool // a write command has been let through
}

// scriptCommand runs one command that a script called. A script without a
// shebang may be refused memory only until its first write: it cannot be
// stopped half way.
func (e *Engine) scriptCommand(run *scriptRun, args []string) any {
	e.record(run.digest, args)
	cmd, refused := lookup(args)
	switch {
	case refused != "" && cmd == nil:
		return Error("ERR Unknown Redis command called from script")
	case refused != "":
		return Error("ERR Wrong number of args calling Redis command from script")
	case cmd.flags&noScript != 0:
		return Error("ERR This Redis command is not allowed from script")
	case cmd.flags&write != 0 && run.readOnly:
		return Error("ERR Write commands are not allowed from read-only scripts.")
	case cmd.flags&denyOOM != 0 && e.memoryFull && !run.wrote:
		return errOOM
	}
	if cmd.flags&write != 0 {
		run.wrote = true
	}
	return cmd.run(e, args)
}

// lookup finds the command that args call and checks their number. With an
// error of arity it returns the command too.
func lookup(args []string) (*command, Error) {
	cmd := commands[strings.ToLower(args[0])]
	if cmd == nil {
		return nil, unknownCommand(args)
	}
	if cmd.subcommands != nil && len(args) > 1 {
		sub := cmd.subcommands[strings.ToLower(args[1])]
		if sub == nil {
			return nil, Error(oneLine("ERR unknown subcommand '" + head(args[1], 128) + "'. Try " + strings.ToUpper(args[0]) + " HELP."))
		}
		cmd = sub
	}
	if cmd.arity > 0 && len(args) != cmd.arity || len(args) < -cmd.arity {
		return cmd, wrongArity(cmd.name)
	}
	return cmd, ""
}

func wrongArity(name string) Error {
	return Error("ERR wrong number of arguments for '" + name + "' command")
}

func unknownCommand(args []string) Error {
	var shown strings.Builder
	for _, arg := range args[1:] {
		if shown.Len() >= 128 {
			break
		}
		shown.WriteString("'" + head(arg, 128-shown.Len()) + "' ")
	}
	return Error(oneLine("ERR unknown command '" + head(args[0], 128) + "', with args beginning with: " + shown.String()))
}

func head(s string, n int) string { return cString(s[:min(n, len(s))]) }

// cString is what C sees of s: it ends at the first NUL.
func cString(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	return s
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// oneLine makes s fit for a status or an error, which end at the first line break.
func oneLine(s string) string { return lineBreaks.Replace(s) }
