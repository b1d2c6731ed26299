package gander

import "context"

type spanKey struct{}
type userKey struct{}

// contextIDs are the innermost span and the user's key that ctx carries, 0 for none.
func contextIDs(ctx context.Context) (span, key uint64) {
	span, _ = ctx.Value(spanKey{}).(uint64)
	key, _ = ctx.Value(userKey{}).(uint64)
	return
}

// WithKey returns a context that carries a key of the program's own, a customer or a shard: recordings that ask for keys put it on
// every event that gets the context, and hit counters can be kept by it.
func WithKey(ctx context.Context, key uint64) context.Context {
	return context.WithValue(ctx, userKey{}, key)
}
