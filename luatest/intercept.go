package luatest

// Intercept has f called before each command, of clients and of scripts, whether
// or not it would be refused. An Error other than "" is the reply, and the command
// is not made: a script gets it as it gets an error of Redis. nil ends that.
//
// Before a client's command f may wait, which holds up that connection alone, and
// may call the Engine. Before a command of a script it holds up all, as a slow
// script does, and must not call the Engine.
func (e *Engine) Intercept(f func(Call) Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.intercept = f
}
