package target

import (
	"context"
	"errors"
	"fmt"
)

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

type leadKey struct{}

// WithLead returns a context under which writes are sent only while lead
// returns nil. It is asked before each one, since a process that was paused
// learns of its lost leadership only when it looks.
func WithLead(ctx context.Context, lead func() error) context.Context {
	return context.WithValue(ctx, leadKey{}, lead)
}

// ErrNotLeading is of a write that was not sent, since the leadership is lost.
var ErrNotLeading = errors.New("the leadership is lost")

// Lead returns why no write may be sent under the context any more: it has
// ended, or the leadership is lost (ErrNotLeading); else nil.
func Lead(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lead, is := ctx.Value(leadKey{}).(func() error)
	if !is {
		return nil
	}
	if err := lead(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeading, err)
	}
	return nil
}
