package target

import "context"

type passKey struct{}

// WithPass returns a context with the id of a pass. The client of ClearML sends this id with each
// request that it makes under the context, so that an operator can find the requests of a pass in
// ClearML's log.
func WithPass(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, passKey{}, id)
}

// Pass returns the id given to WithPass, or an empty string.
func Pass(ctx context.Context) string {
	id, _ := ctx.Value(passKey{}).(string)
	return id
}
