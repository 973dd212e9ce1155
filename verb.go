package wildkey

import "context"

type verbKey struct{}

// VerbOf returns the name of the Cache method that sent a command, such as "Put" or
// "DeleteMatch". Call it from a go-redis hook with the command's context. If the method
// was called by another one, such as PutEach, VerbOf returns the outer one. Commands
// that set up a new connection carry the verb that opened it. VerbOf returns "" for
// commands that no Cache sent.
func VerbOf(ctx context.Context) string {
	verb, _ := ctx.Value(verbKey{}).(string)
	return verb
}

// withVerb takes the name as any because a constant converted to any is not allocated.
func withVerb(ctx context.Context, verb any) context.Context {
	if VerbOf(ctx) != "" {
		return ctx
	}
	return context.WithValue(ctx, verbKey{}, verb)
}
