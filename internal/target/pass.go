package target

import "context"

type passKey struct{}

// WithPass names the pass that requests belong to; a client sends it along, so
// that the server's log can be held against groupsync's.
func WithPass(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, passKey{}, id)
}

// Pass returns the id given to WithPass, or an empty string.
func Pass(ctx context.Context) string {
	id, _ := ctx.Value(passKey{}).(string)
	return id
}
