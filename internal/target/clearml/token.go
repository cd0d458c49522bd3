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
	renewAt  time.Time     // by our own clock; zero: the server refused the token
	life     time.Duration // from its issue to its end
	identity target.Identity
	server   ServerInfo
}

// ServerInfo is what a token tells of the server that issued it. A server may leave
// each of them out.
type ServerInfo struct {
	Version    string // of the server, for example 3.30.0
	APIVersion string
	FeatureSet string
}

// lasts reports whether the token need not be renewed within d. A token whose
// life is short cannot last long: for it, a fifth of its life is enough.
func (t token) lasts(d time.Duration) bool {
	return t.text != "" && time.Now().Add(min(d, t.life/5)).Before(t.renewAt)
}

// current returns a token that need not be renewed within d. It logs in if
// there is none.
func (c *Client) current(ctx context.Context, d time.Duration) (token, error) {
	t := c.held()
	if t.lasts(d) {
		return t, nil
	}
	return c.renew(ctx, t)
}

// held returns the last token, which may be over, or the zero token.
func (c *Client) held() token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// forget makes the next call log in, unless the token was replaced meanwhile.
func (c *Client) forget(t token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token.text == t.text {
		c.token.renewAt = time.Time{}
	}
}

// renew replaces a token by a new one, unless that was done meanwhile. Two at
// once both log in, which harms nobody.
func (c *Client) renew(ctx context.Context, old token) (token, error) {
	if t := c.held(); t.text != old.text {
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

// login logs in and refuses a role that may not read and write user groups.
func (c *Client) login(ctx context.Context) (token, error) {
	t, err := c.signIn(ctx)
	if err != nil {
		return token{}, err
	}
	if role := t.identity.Role; !slices.Contains([]string{"admin", "superuser", "system", "root"}, role) {
		return token{}, failf(fault.Forbidden, loginCall, "the role of these credentials is %q: user groups need the access key of a ClearML administrator", role)
	}
	return t, nil
}

// signIn logs in, whatever the role of the credentials is.
func (c *Client) signIn(ctx context.Context) (token, error) {
	keys, err := c.keys()
	if err != nil {
		return token{}, failf(fault.Auth, loginCall, "reading the credentials: %w", err)
	}
	c.secrets.Add(keys.Access)
	c.secrets.Add(keys.Secret)
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
	c.secrets.Add(data.Token)
	return parseToken(data.Token, asked)
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
		ServerVersion string `json:"server_version"`
		APIVersion    string `json:"api_version"`
		FeatureSet    string `json:"feature_set"`
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
		text: text, renewAt: asked.Add(life - min(life/5, 5*time.Minute)), life: life,
		identity: target.Identity(c.Identity),
		server:   ServerInfo{Version: c.ServerVersion, APIVersion: c.APIVersion, FeatureSet: c.FeatureSet},
	}, nil
}
