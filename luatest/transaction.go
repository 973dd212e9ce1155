package luatest

import (
	"slices"
	"strings"
)

var transactionCommands = []*command{
	noKey("multi", 1, noScript|fast, cmdMulti),
	noKey("exec", 1, noScript, cmdExec),
	noKey("discard", 1, noScript|fast, cmdDiscard),
	manyKeys("watch", -2, noScript|fast, cmdWatch),
	noKey("unwatch", 1, noScript|fast, cmdUnwatch),
}

// transaction is what one connection has begun with WATCH and MULTI.
type transaction struct {
	begun   bool
	refused bool // a command was, and so EXEC runs none
	queue   []queuedCommand
	watched map[string]watchedKey
}

type queuedCommand struct {
	command *command
	args    []string
}

// watchedKey is how a key was when it was watched.
type watchedKey struct {
	changes int    // so far, by which it was made, replaced or deleted
	text    string // what it held, as Dump writes it
}

// queues reports whether a command waits for EXEC.
func (t *transaction) queues(cmd *command) bool {
	return t.begun && !slices.Contains(transactionCommands[:4], cmd)
}

// end ends what a connection has begun. Changes are counted while someone watches.
func (e *Engine) end(t *transaction) {
	*t = transaction{}
	delete(e.watching, t)
	if len(e.watching) == 0 {
		e.keys.keys.changes = nil
	}
}

func cmdMulti(e *Engine, _ []string) any {
	if e.caller.begun {
		return Error("ERR MULTI calls can not be nested")
	}
	e.caller.begun = true
	return Status("OK")
}

func cmdDiscard(e *Engine, _ []string) any {
	if !e.caller.begun {
		return Error("ERR DISCARD without MULTI")
	}
	e.end(e.caller)
	return Status("OK")
}

func cmdWatch(e *Engine, args []string) any {
	if e.caller.begun {
		return Error("ERR WATCH inside MULTI is not allowed")
	}
	if e.caller.watched == nil {
		e.caller.watched = map[string]watchedKey{}
		e.watching[e.caller] = struct{}{}
	}
	if e.keys.keys.changes == nil {
		e.keys.keys.changes = map[string]int{}
	}
	for _, key := range args[1:] {
		if _, already := e.caller.watched[key]; !already {
			e.caller.watched[key] = e.watch(key)
		}
	}
	return Status("OK")
}

func (e *Engine) watch(key string) watchedKey {
	held := e.keys.find(key)
	if held == nil {
		return watchedKey{changes: e.keys.keys.changes[key]}
	}
	return watchedKey{e.keys.keys.changes[key], held.dump()}
}

func cmdUnwatch(e *Engine, _ []string) any {
	e.end(e.caller) // which has not begun more: in a transaction this waits for EXEC
	return Status("OK")
}

// abort is the reply of an EXEC that is refused itself.
func abort(refused Error) Error {
	return "EXECABORT Transaction discarded because of: " + Error(strings.TrimPrefix(string(refused), "ERR "))
}

func cmdExec(e *Engine, _ []string) any {
	if !e.caller.begun {
		return Error("ERR EXEC without MULTI")
	}
	ended := *e.caller
	defer e.end(e.caller)
	if ended.refused {
		return Error("EXECABORT Transaction discarded because of previous errors.")
	}
	for key, before := range ended.watched {
		if e.watch(key) != before {
			return []any(nil)
		}
	}
	for _, queued := range ended.queue {
		if refused := e.gate.state(queued.command); refused != "" {
			return abort(refused)
		}
	}
	e.queued = true
	replies := make([]any, 0, len(ended.queue))
	for _, queued := range ended.queue {
		e.inScript = false
		call := e.record("", queued.args)
		call.Reply = queued.command.run(e, queued.args)
		replies = append(replies, call.Reply)
	}
	return replies
}
