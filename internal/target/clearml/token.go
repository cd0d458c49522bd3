package clearml

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"groupsync/internal/fault"
	"groupsync/internal/target"
)

const loginCall = "auth.login"

// tokenLife is what is asked for: a token keeps the role that it was issued
// with, so that a short one is the safer one.
const tokenLife = time.Hour

// token is a login: what to send, until when, and as whom.
type token struct {
	text     string
	renewAt  time.Time // by our own clock
	identity target.Identity
}

// current returns a token that is not about to end, logging in where there is
// none.
func (c *Client) current(ctx context.Context) (token, error) {
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	if t.text != "" && time.Now().Before(t.renewAt) {
		return t, nil
	}
	return c.renew(ctx, t)
}

// renew replaces a token by a new one, unless that was done meanwhile. Two at
// once both log in, which harms nobody.
func (c *Client) renew(ctx context.Context, old token) (token, error) {
	c.mu.Lock()
	t := c.token
	c.mu.Unlock()
	if t.text != old.text {
		return t, nil
	}
	t, err := c.login(ctx)
	if err != nil {
		return token{}, err
	}
	c.mu.Lock()
	c.token = t
	c.mu.Unlock()
	return t, nil
}

func (c *Client) login(ctx context.Context) (token, error) {
	keys, err := c.keys()
	if err != nil {
		return token{}, failf(fault.Auth, loginCall, "reading the credentials: %w", err)
	}
	c.mu.Lock()
	c.used = keys
	c.mu.Unlock()
	asked := time.Now()
	a, err := c.send(ctx, request{
		call: loginCall,
		body: map[string]int{"expiration_sec": int(tokenLife.Seconds())},
		auth: "Basic " + keys.basic(),
	})
	if err != nil {
		return token{}, err
	}
	var data struct {
		Token string `json:"token"`
	}
	// The decoder's own error may quote the token.
	if json.Unmarshal(a.data, &data) != nil || data.Token == "" {
		return token{}, failf(fault.Shape, loginCall, "the answer holds no token; is this a ClearML API server? Check clearml.url")
	}
	t, err := parseToken(data.Token, asked)
	if err != nil {
		return token{}, err
	}
	if role := t.identity.Role; !slices.Contains([]string{"admin", "superuser", "system", "root"}, role) {
		return token{}, failf(fault.Forbidden, loginCall, "these credentials belong to %q, whose role is %q: user groups need the access key of a ClearML administrator", t.identity.Name, role)
	}
	return t, nil
}

// parseToken reads who we are. The signature is the server's own business: it
// is checked with every request.
func parseToken(text string, asked time.Time) (token, error) {
	var c struct {
		jwt.RegisteredClaims
		Identity struct {
			User string `json:"user"`
			Name string `json:"user_name"`
			Role string `json:"role"`
		} `json:"identity"`
	}
	if _, _, err := jwt.NewParser().ParseUnverified(text, &c); err != nil || c.Identity.User == "" || strings.TrimSpace(text) != text {
		return token{}, failf(fault.Shape, loginCall, "the token does not say who we are (no JWT with an identity): this version of ClearML is not one that groupsync knows")
	}
	life := tokenLife
	if c.ExpiresAt != nil && c.IssuedAt != nil { // their difference: the clocks of both sides may differ
		life = c.ExpiresAt.Sub(c.IssuedAt.Time)
	}
	if life <= 0 {
		return token{}, failf(fault.Shape, loginCall, "the token ends before it begins (%s of life): check the clock of the API server", life)
	}
	return token{
		text: text, renewAt: asked.Add(life - min(life/5, 5*time.Minute)),
		identity: target.Identity(c.Identity),
	}, nil
}
