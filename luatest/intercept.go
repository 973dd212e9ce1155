package luatest

// Intercept makes the engine call f before each command of clients and scripts, even one
// that will be refused. If f returns an Error other than "", the command is not made and
// the Error is its reply; a script gets it like any error of Redis. A nil f ends that.
//
// Before a client's command f may wait, which delays only that connection, and may call
// the Engine. Before a script's command f delays all clients, as a slow script does, and
// must not call the Engine.
func (e *Engine) Intercept(f func(Call) Error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.intercept = f
}
