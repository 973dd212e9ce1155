package luatest

import (
	"cmp"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Status is a simple-string reply, such as OK.
type Status string

// Error is the text of an error reply, without the leading '-'.
type Error string

// Error returns the text of the reply.
func (e Error) Error() string { return string(e) }

// RedisError makes Error a redis.Error, so redis.HasErrorPrefix and redis.IsOOMError
// recognise it.
func (e Error) RedisError() {}

// Call is one command that an Engine received.
type Call struct {
	Script string   // SHA-1 of the script that called, "" when a client did
	Args   []string // the command's name, as it was spelled, and its arguments
	Reply  any      // as Do returns it; an Error may have been raised in the script
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

// Engine is an in-memory Redis that has only database 0. It is safe for concurrent use.
// Commands run one at a time.
type Engine struct {
	mu        sync.Mutex
	keys      *keyspace
	scripts   map[string]*script
	gate      gate
	maxMemory int64
	trace     []*Call
	sandbox   *sandbox // made by the first script that runs
	random    rand.PCG // of ZRANDMEMBER and its kin
	intercept func(Call) Error

	caller   *transaction // of the connection whose command runs
	direct   transaction  // of Do
	watching map[*transaction]struct{}
	inScript bool // the command that runs was called by a script
	queued   bool // it, or the script, was queued by MULTI

	live      bool          // see Live
	ahead     time.Duration // of the machine's clock, when live
	collector uint64        // where a live engine has come to in looking for what has expired

	maxInstructions int64
	instructions    int64 // since the last ResetTrace
	coverage        *Coverage
	portable        Target
	instrumented    map[string]*script // editions of scripts, as coverage and portable want them

	connMu sync.Mutex
	open   map[io.Closer]struct{} // listeners and connections
	closed bool
	served sync.WaitGroup
}

// New returns an empty Engine. Its clock starts at 2024-01-01T00:00:00Z and moves only
// when SetNow or Advance moves it.
func New() *Engine {
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	return &Engine{
		keys:     newKeyspace(start),
		scripts:  map[string]*script{},
		open:     map[io.Closer]struct{}{},
		watching: map[*transaction]struct{}{},
	}
}

// Do runs one command as a client would, and returns its reply: nil, an int64,
// a string, a Status, an Error, or an []any of these. An []any that is nil is
// the null that stands for an array, as of a ZMPOP that finds nothing.
func (e *Engine) Do(args ...string) any {
	return e.client(&e.direct, slices.Clone(args))
}

// Now returns the time on the engine's clock.
func (e *Engine) Now() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tick()
	return e.keys.now
}

// SetNow sets the engine's clock. The clock of a live engine runs on from there.
func (e *Engine) SetNow(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ahead, e.keys.now = time.Until(t), t
}

// Advance moves the engine's clock forward by d.
func (e *Engine) Advance(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ahead += d
	e.keys.now = e.keys.now.Add(d)
}

// Trace returns the commands since the last ResetTrace, in order: those from clients and
// those from scripts, including refused ones. It returns at least the last 65,536 of
// them.
func (e *Engine) Trace() []Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := make([]Call, len(e.trace))
	for i, call := range e.trace {
		calls[i] = *call
	}
	return calls
}

// ResetTrace clears the trace and the count of instructions.
func (e *Engine) ResetTrace() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trace, e.instructions = nil, 0
}

// Clone returns an independent Engine with the same keyspace, clock, loaded scripts,
// settings and checks. It copies neither connections nor the trace.
func (e *Engine) Clone() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := New()
	c.keys = e.keys.clone()
	for digest, s := range e.scripts {
		c.scripts[digest] = s
	}
	c.gate, c.maxMemory, c.random = e.gate, e.maxMemory, e.random
	c.live, c.ahead, c.intercept = e.live, e.ahead, e.intercept
	c.maxInstructions, c.coverage, c.portable = e.maxInstructions, e.coverage, e.portable
	return c
}

// Dump returns the keyspace as text, which is the same for equal keyspaces. It lists the
// live keys in byte order, each with its type, its value and the millisecond at which it
// expires.
func (e *Engine) Dump() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keys.dump()
}

// Close stops listening, closes every connection and waits for their goroutines to end.
// Do still works after that; clients do not.
func (e *Engine) Close() error {
	e.connMu.Lock()
	e.closed = true
	var errs []error
	for served := range e.open {
		if err := served.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	e.connMu.Unlock()
	e.served.Wait()
	return errors.Join(errs...)
}

// record puts a call into the trace, to which the caller adds the reply.
func (e *Engine) record(digest string, args []string) *Call {
	call := &Call{Script: digest, Args: args}
	if e.live {
		return call
	}
	if len(e.trace) == 2*traceLimit {
		e.trace = append([]*Call(nil), e.trace[traceLimit:]...)
	}
	e.trace = append(e.trace, call)
	return call
}

const (
	errWrongType Error = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errSyntax    Error = "ERR syntax error"
	errNotInt    Error = "ERR value is not an integer or out of range"
	errNotFloat  Error = "ERR value is not a valid float"
	errCursor    Error = "ERR invalid cursor"
)

// client runs one command that came over a connection.
func (e *Engine) client(from *transaction, args []string) (reply any) {
	e.mu.Lock()
	intercept := e.intercept
	e.mu.Unlock()
	var refused Error
	if intercept != nil && len(args) > 0 {
		// Unlocked, so that one who waits there holds up nobody else.
		refused = intercept(Call{Args: slices.Clone(args)})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tick()
	if len(args) == 0 {
		return Error("ERR unknown command '', with args beginning with: ")
	}
	call := e.record("", args)
	defer func() { call.Reply = reply }()
	cmd, unknown := lookup(args)
	refused = cmp.Or(refused, unknown)
	if refused == "" {
		refused = e.gate.client(cmd, args)
	}
	switch {
	case refused != "" && cmd != nil && cmd.name == "exec":
		e.end(from)
		return abort(refused)
	case refused != "":
		from.refused = from.begun
		return refused
	case from.queues(cmd):
		from.queue = append(from.queue, queuedCommand{cmd, args})
		return Status("QUEUED")
	}
	e.caller, e.inScript, e.queued = from, false, false
	return cmd.run(e, args)
}

// scriptCommand runs one command that a script called.
func (e *Engine) scriptCommand(run *scriptRun, args []string) (reply any) {
	call := e.record(run.digest, args)
	defer func() { call.Reply = reply }()
	run.calls++
	if run.overBudget() {
		return run.budgetError()
	}
	if e.intercept != nil {
		if refused := e.intercept(Call{Script: run.digest, Args: slices.Clone(args)}); refused != "" {
			return Error(oneLine(string(refused)))
		}
	}
	cmd, refused := lookup(args)
	switch {
	case refused != "" && cmd == nil:
		if refused := notModelled(args); refused != "" {
			return refused
		}
		return Error("ERR Unknown Redis command called from script")
	case refused != "":
		return Error("ERR Wrong number of args calling Redis command from script")
	}
	if refused := e.gate.script(run, cmd, args); refused != "" {
		return refused
	}
	if run.calls == run.fault.call {
		return run.fault.reply
	}
	e.inScript = true
	return cmd.run(e, args)
}

// lookup finds the command that args call and checks their number. With an
// error of arity it returns the command too.
func lookup(args []string) (*command, Error) {
	cmd := commands[strings.ToLower(args[0])]
	isContainer := cmd != nil && cmd.subcommands != nil && len(args) > 1
	if isContainer {
		cmd = cmd.subcommands[strings.ToLower(args[1])]
	}
	if cmd == nil {
		refused := notModelled(args)
		switch {
		case refused != "":
		case isContainer:
			refused = unknownSubcommand(args)
		default:
			refused = unknownCommand(args)
		}
		return nil, refused
	}
	if cmd.arity > 0 && len(args) != cmd.arity || len(args) < -cmd.arity {
		return cmd, wrongArity(cmd.name)
	}
	return cmd, ""
}

func wrongArity(name string) Error {
	return Error("ERR wrong number of arguments for '" + name + "' command")
}

func unknownSubcommand(args []string) Error {
	return Error(oneLine("ERR unknown subcommand '" + head(args[1], 128) + "'. Try " + strings.ToUpper(args[0]) + " HELP."))
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

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// oneLine makes s fit for a status or an error, which end at the first line break.
func oneLine(s string) string { return lineBreaks.Replace(s) }
