package luatest

import "math/big"

const errBlocking Error = "ERR luatest: blocking is not modelled"

// orWait is the reply of a command that would wait when it has nothing to reply,
// which neither a script nor a transaction does.
func (e *Engine) orWait(reply any) any {
	if items, isArray := reply.([]any); !e.inScript && !e.queued && (reply == nil || isArray && items == nil) {
		return errBlocking
	}
	return reply
}

// checkTimeout refuses what is no number of seconds to wait for. Redis counts it in
// milliseconds, rounded up, of which there may be too many for a number of C.
func checkTimeout(seconds string) Error {
	timeout, ok := parseLongDouble(seconds)
	if !ok {
		return "ERR timeout is not a float or out of range"
	}
	millis := timeout.Mul(timeout, big.NewFloat(1000))
	if millis.Cmp(big.NewFloat(-1)) <= 0 || millis.Cmp(big.NewFloat(1<<63)) >= 0 {
		return "ERR timeout is negative"
	}
	return ""
}
