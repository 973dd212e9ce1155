package luatest

import "time"

// Live returns an empty Engine for programs other than tests, such as a demo or a
// service without a server. It differs from New in three ways. Its clock is the
// machine's and runs on by itself; SetNow and Advance shift it. It keeps no trace. It
// drops expired keys even if nobody asks for them again, as a server does: it holds at
// most about as many expired keys as live ones.
func Live() *Engine {
	e := New()
	e.live = true
	e.keys.now = time.Now()
	return e
}

// collected is how many buckets of the keyspace a command looks through for what
// has expired. With two, all are looked through before as many commands have
// been made as there are keys.
const collected = 2

// tick sets the clock of a live engine, and forgets some of what has expired.
func (e *Engine) tick() {
	if !e.live {
		return
	}
	e.keys.now = time.Now().Add(e.ahead)
	if e.keys.keepExpired {
		return
	}
	for range collected {
		var names []string
		names, e.collector = e.keys.keys.scan(e.collector, 1)
		for _, name := range names {
			e.keys.find(name)
		}
	}
}
