package wire

import (
	"context"
	"strings"
	"time"

	"groupsync/internal/memory"
)

// SetSuspension replaces the suspension in the store by next. If next is the zero Suspension, it
// ends the suspension. It returns one to three lines that tell a person what was done.
func SetSuspension(ctx context.Context, store Store, next memory.Suspension) (string, error) {
	before, unread := store.Suspension(ctx)
	if err := store.Suspend(ctx, next); err != nil {
		return "", err
	}
	before = before.Current(time.Now())
	var lines []string
	ended := "the new suspension replaces this one: "
	switch {
	case next.IsZero() && unread == nil && before.IsZero():
		return "no suspension was in force, so nothing was changed", nil
	case next.IsZero():
		lines = append(lines, "nothing is suspended: the next pass writes")
		ended = "this suspension was ended: "
	case next.RemovalsOnly:
		lines = append(lines, next.String(), "from now on no write that removes somebody begins; a write that has begun is finished")
	default:
		lines = append(lines, next.String(), "from now on no write begins; a write that has begun is finished")
	}
	switch {
	case unread != nil:
		lines = append(lines, ended+"a suspension that could not be read")
	case !before.IsZero():
		lines = append(lines, ended+before.String())
	}
	return strings.Join(lines, "\n"), nil
}
