package luatest

import (
	"fmt"
	"strconv"
)

// gate is what may refuse a command before it runs: the state of the server,
// the rights of the user, and what a test demands. Its checks are made in the
// order in which Redis makes them, and worded as Redis words them.
type gate struct {
	memoryFull   bool
	replica      bool
	cluster      bool
	declaredKeys bool
	user         *user // nil may do everything
	callBudget   int   // 0 is none
	fault        fault // for the next run of a script
}

// fault is a call that a script makes, counted from 1, and what it gets
// instead of being made. The zero fault never happens.
type fault struct {
	call  int
	reply Error
}

// SetMemoryFull makes the engine act, or stop acting, as if used memory had passed
// maxmemory under the noeviction policy. It then refuses commands that may need memory.
// In a script it refuses them only before the first write, since Redis lets a script
// finish after that.
func (e *Engine) SetMemoryFull(full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.memoryFull = full
}

// SetReplica makes the engine a read-only replica, or a master again. A replica refuses
// writes and hides expired keys. It still counts them in DBSIZE, since only its master may
// delete them.
func (e *Engine) SetReplica(replica bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.replica = replica
	e.keys.keepExpired = replica
}

// SetCluster makes the engine a Redis Cluster, or a single server again. The keys of one
// command must lie in one hash slot, also for EVALSHA. A script can use only the slot of
// its KEYS or, without KEYS, of the first key that it uses, as if each slot were on its
// own node.
func (e *Engine) SetCluster(cluster bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.cluster = cluster
}

// SetDeclaredKeysOnly makes calls of scripts fail, or no longer fail, if they use a key
// that is not in KEYS. Redis allows such calls if the server has the key, but its
// documentation forbids them and other servers refuse them. Commands that name no key,
// such as SCAN, are not affected.
func (e *Engine) SetDeclaredKeysOnly(only bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.declaredKeys = only
}

// SetUser gives whoever sends commands, over any connection and through Do,
// the rights of a user with these ACL rules, separated by spaces as ACL LIST
// prints them, and with no other rights:
//
//	engine.SetUser("~{app}:* +@read +evalsha_ro")
//
// A new engine's user has "~* +@all". Rules about passwords, channels and
// whether the user is on are accepted and change nothing. A rule that is
// wrong is an error, and so is a selector in parentheses; the user is then as
// before. One about a command that Redis has and the engine has not is accepted
// too, so that the rules of a server can be given as they are.
func (e *Engine) SetUser(rules string) error {
	u, err := newUser(rules)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.user = u
	return nil
}

// FailCall makes the n-th call of redis.call or redis.pcall in the next run of a script
// fail with reply, such as "WRONGTYPE not a list". The first call is 1. The command is
// not executed. A run with fewer calls is not affected, and neither are later runs. If n
// < 1, FailCall cancels an earlier request. A call that would be refused anyway keeps
// its own error.
func (e *Engine) FailCall(n int, reply Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.fault = fault{n, Error(oneLine(string(reply)))}
}

// SetCallBudget makes a run of a script fail if it calls redis.call and redis.pcall more
// than n times. The first call over the budget is not made and raises an error, which
// becomes the reply even if the script catches it. If n < 1 there is no limit, which is
// the default.
func (e *Engine) SetCallBudget(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate.callBudget = max(n, 0)
}

const (
	errOOM       Error = "OOM command not allowed when used memory > 'maxmemory'."
	errReplica   Error = "READONLY You can't write against a read only replica."
	errCrossSlot Error = "CROSSSLOT Keys in request don't hash to the same slot"
)

// client refuses a command that a client sent, or lets it pass with "".
func (g *gate) client(cmd *command, args []string) Error {
	switch g.user.check(cmd, args) {
	case deniedCommand:
		return Error("NOPERM this user has no permissions to run the '" + cmd.name + "' command")
	case deniedKey:
		return "NOPERM this user has no permissions to access one of the keys used as arguments"
	}
	if g.cluster {
		if _, one := slotOf(cmd.keysOf(args)); !one {
			return errCrossSlot
		}
	}
	return g.state(cmd)
}

// state refuses what the state of the server does not allow.
func (g *gate) state(cmd *command) Error {
	switch {
	case g.memoryFull && cmd.flags&denyOOM != 0:
		return errOOM
	case g.replica && cmd.flags&write != 0:
		return errReplica
	}
	return ""
}

// scriptRun is one execution of a script.
type scriptRun struct {
	digest   string
	readOnly bool
	declared map[string]bool // its KEYS, if it may use no other key
	slot     int             // where its keys are in a cluster, noSlot until there is one
	wrote    bool            // a write command has passed the checks
	calls    int
	budget   int
	fault    fault
}

// newRun starts a run. It is the one for which a fault was asked.
func (g *gate) newRun(digest string, keys []string, readOnly bool) *scriptRun {
	run := &scriptRun{digest: digest, readOnly: readOnly, budget: g.callBudget, fault: g.fault}
	g.fault = fault{}
	run.slot, _ = slotOf(keys)
	if g.declaredKeys {
		run.declared = make(map[string]bool, len(keys))
		for _, key := range keys {
			run.declared[key] = true
		}
	}
	return run
}

func (r *scriptRun) overBudget() bool { return r.budget > 0 && r.calls > r.budget }

func (r *scriptRun) budgetError() Error {
	return Error("ERR luatest: the script made more than " + strconv.Itoa(r.budget) + " calls")
}

// script refuses a command that a script called, or lets it pass with "". A
// script cannot be stopped half way: once it has written, the state of the
// server is no reason to refuse anything.
func (g *gate) script(run *scriptRun, cmd *command, args []string) Error {
	if cmd.flags&noScript != 0 {
		return "ERR This Redis command is not allowed from script"
	}
	if g.declaredKeys {
		for _, key := range cmd.keysOf(args) {
			if !run.declared[key] {
				return Error(fmt.Sprintf("ERR luatest: %s of the key %q, which is not in KEYS", args[0], key))
			}
		}
	}
	switch g.user.check(cmd, args) {
	case deniedCommand:
		return "ERR The user executing the script can't run this command or subcommand"
	case deniedKey:
		return "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
	}
	switch {
	case run.readOnly && cmd.flags&(write|pubSub) != 0: // what is published goes to replicas too
		return "ERR Write commands are not allowed from read-only scripts."
	case g.replica && cmd.flags&write != 0:
		return errReplica
	case g.memoryFull && cmd.flags&denyOOM != 0 && !run.wrote:
		return errOOM
	}
	if cmd.flags&write != 0 {
		run.wrote = true
	}
	if g.cluster {
		slot, one := slotOf(cmd.keysOf(args))
		if !one || slot != noSlot && run.slot != noSlot && slot != run.slot {
			return "ERR Script attempted to access a non local key in a cluster node"
		}
		if slot != noSlot {
			run.slot = slot
		}
	}
	return ""
}
