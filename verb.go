package wildkey

import "context"

type verbKey struct{}

// VerbOf returns the method of a Cache that sends a command, such as "Put" or
// "DeleteMatch", to a go-redis hook that asks with the context of the command. Of a
// method that calls others, such as PutEach, it is the outer one. The commands with
// which go-redis greets a new connection have the verb that has opened it. It is ""
// for commands that no Cache sends.
func VerbOf(ctx context.Context) string {
	verb, _ := ctx.Value(verbKey{}).(string)
	return verb
}

// withVerb takes the name as any because a constant in one is not allocated.
func withVerb(ctx context.Context, verb any) context.Context {
	if VerbOf(ctx) != "" {
		return ctx
	}
	return context.WithValue(ctx, verbKey{}, verb)
}
