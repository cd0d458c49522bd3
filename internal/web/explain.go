package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

// Explainer says why a person is, or is not, in a group. Its errors decide the HTTP status:
//
//   - For a *Refusal it is Refusal.Status. This is 404 if the person or the group does not exist,
//     and 409 if several people fit the parameter user.
//   - For any other error it is 504 if explainTimeout has passed, else 502. Such an error most
//     often comes from Keycloak or ClearML, which an Explainer asks.
type Explainer interface {
	// Explain explains a person, a person's membership of a group, or a group. Either user or
	// group may be empty. user is an email, a username, or an id in Keycloak or ClearML.
	Explain(ctx context.Context, user, group string) (Explanation, error)
}

// Explanation is the result of an Explainer.
type Explanation struct {
	Value any    // a JSON object for encoding/json
	Text  string // the same facts in lines of text, for a person
}

// explainTimeout limits one explanation. It is less than the server's WriteTimeout, so that
// the server can still send the error when this time has passed.
const explainTimeout = 20 * time.Second

// explaining calls the Explainer for one HTTP request at a time, because each explanation makes
// requests to Keycloak and ClearML. It caches no answer.
type explaining struct {
	explainer Explainer
	timeout   time.Duration
	turn      *semaphore.Weighted
	log       *slog.Logger
}

func newExplaining(e Explainer, log *slog.Logger) *explaining {
	return &explaining{explainer: e, timeout: explainTimeout, turn: semaphore.NewWeighted(1), log: log}
}

// explain makes one explanation. Every error that it returns is a *Refusal.
func (e *explaining) explain(ctx context.Context, user, group string) (Explanation, error) {
	switch {
	case e.explainer == nil:
		return Explanation{}, &Refusal{http.StatusNotFound, errors.New("this process cannot explain anything. Run the command groupsync explain")}
	case user == "" && group == "":
		return Explanation{}, &Refusal{http.StatusBadRequest, errors.New("neither a person nor a group was given, so nothing was explained. Use GET /api/v1/explain?user=…, ?group=…, or both")}
	case !e.turn.TryAcquire(1):
		return Explanation{}, &Refusal{http.StatusTooManyRequests, errors.New("groupsync makes one explanation at a time, and another one is under way. Try again in a few seconds")}
	}
	defer e.turn.Release(1)
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	x, err := e.explainer.Explain(ctx, user, group)
	var refusal *Refusal
	switch {
	case err == nil:
		return x, nil
	case errors.As(err, &refusal):
		return Explanation{}, refusal
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = &Refusal{http.StatusGatewayTimeout, fmt.Errorf("nothing was explained, because Keycloak and ClearML did not answer within %s. Try again, or run groupsync explain, which waits longer: %w", e.timeout, err)}
	default:
		err = &Refusal{http.StatusBadGateway, fmt.Errorf("nothing was explained: %w", err)}
	}
	e.log.Warn("an explanation failed", "error", err)
	return Explanation{}, err
}
